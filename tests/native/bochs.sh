#!/usr/bin/env bash
# Runs frazil_native on a CPU with AVX-512 VNNI, where there is none: Bochs emulates one, and boots a Linux that does nothing else.
#
#   tests/native/bochs.sh KERNEL [arguments of frazil_native; default: --only avx512vnni --quick]
#
# KERNEL is a Linux for PCs with a serial console built in, such as /boot/vmlinuz of Debian's linux-image-cloud-amd64. Debian's packages for
# the rest: bochs bochs-term bochsbios vgabios busybox-static grub-pc-bin grub-common xorriso mtools cpio. --quick takes some 4 minutes.
set -euo pipefail
kernel=$(realpath "$1")
shift
(($#)) || set -- --only avx512vnni --quick
cd "$(dirname "$0")/../.."
work=$PWD/build/bochs

cmake --preset native -B "$work/build" -DCMAKE_EXE_LINKER_FLAGS=-static >/dev/null
cmake --build "$work/build" -j2 >/dev/null

rm -rf "$work/image" "$work/iso" "$work/serial"
mkdir -p "$work"/image/{bin,dev,proc,tmp} "$work/iso/boot/grub"
cp "$(command -v busybox)" "$work/build/tests/native/frazil_native" "$work/image/bin"
cp -r tests/native/golden "$work/image/golden"
cat >"$work/image/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
exec >/dev/ttyS0 2>&1 </dev/null
/bin/frazil_native $* --golden /golden
echo "exit code \$?"
/bin/busybox sleep 10
/bin/busybox poweroff -f
INIT
chmod +x "$work/image/init"
(cd "$work/image" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/iso/boot/initrd"
cp "$kernel" "$work/iso/boot/vmlinuz"

# Bochs 2.7 counts a state that it does not describe (PKU's), describes compacted states wrongly, and has no fast strings switched on, for
# which Linux' short ones then have no other way: pku, xsavec, xsaves and fsrm are not to be used.
cat >"$work/iso/boot/grub/grub.cfg" <<GRUB
set timeout=0
menuentry tests {
  linux /boot/vmlinuz console=ttyS0 quiet mitigations=off no_timer_check lpj=1000000 clearcpuid=515,321,323,580
  initrd /boot/initrd
}
GRUB
grub-mkrescue -o "$work/tests.iso" "$work/iso" 2>/dev/null

cat >"$work/bochsrc" <<BOCHS
plugin_ctrl: speaker=0
config_interface: textconfig
display_library: term
memory: host=1024, guest=1024
romimage: file="/usr/share/bochs/BIOS-bochs-latest"
vgaromimage: file="/usr/share/vgabios/vgabios.bin"
ata0-master: type=cdrom, path="$work/tests.iso", status=inserted
vga: update_freq=1
boot: cdrom
cpu: model=corei7_icelake_u, ips=100000000
com1: enabled=1, mode=file, dev="$work/serial"
log: $work/log
BOCHS
echo continue >"$work/debugger"  # Debian's Bochs is one with a debugger
TERM=xterm script -qc "bochs -q -f '$work/bochsrc' -rc '$work/debugger'" /dev/null >/dev/null 2>&1 </dev/null || true
cat "$work/serial"
grep -q "^exit code 0" "$work/serial"
