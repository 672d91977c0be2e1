#!/usr/bin/env bash
# Runs frazil_native on a CPU with AVX-512 VNNI or AVX-VNNI, where there is none: Bochs emulates one, and boots a Linux that does nothing
# else.
#
#   tests/native/bochs.sh KERNEL [arguments of frazil_native; default: --only avx512vnni --quick]
#
# KERNEL is a Linux for PCs with a serial console built in, such as /boot/vmlinuz of Debian's linux-image-cloud-amd64. Debian's packages for
# the rest: bochs bochs-term bochsbios vgabios busybox-static grub-pc-bin grub-common xorriso mtools cpio. --quick takes some 4 minutes.
#
# AVX-VNNI came with Bochs 3.0, which Debian has from trixie on; elsewhere build it (./configure --enable-x86-64 --enable-cpu-level=6
# --enable-avx --enable-evex --enable-handlers-chaining --with-nogui), and then
#
#   BOCHS=.../bochs BOCHS_DISPLAY=nogui BOCHS_CPU=arrow_lake tests/native/bochs.sh KERNEL --only avxvnni
set -euo pipefail
bochs=${BOCHS:-bochs} display=${BOCHS_DISPLAY:-term} cpu=${BOCHS_CPU:-corei7_icelake_u}
kernel=$(realpath "$1")
shift
(($#)) || set -- --only avx512vnni --quick
cd "$(dirname "$0")/../.."
build=$PWD/build/bochs work=$PWD/build/bochs/$cpu

cmake --preset native -B "$build" -DCMAKE_EXE_LINKER_FLAGS=-static >/dev/null
cmake --build "$build" -j2 >/dev/null

rm -rf "$work/image" "$work/iso" "$work/serial"
mkdir -p "$work"/image/{bin,dev,proc,tmp} "$work/iso/boot/grub"
cp "$(command -v busybox)" "$build/tests/native/frazil_native" "$work/image/bin"
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
# which Linux' short ones then have no other way: pku, xsavec, xsaves and fsrm are not to be used. Bochs 3.0 does not wake a CPU that waits for
# its timer's deadline.
cat >"$work/iso/boot/grub/grub.cfg" <<GRUB
set timeout=0
menuentry tests {
  linux /boot/vmlinuz console=ttyS0 quiet mitigations=off no_timer_check lapic=notscdeadline idle=poll lpj=1000000 clearcpuid=515,321,323,580
  initrd /boot/initrd
}
GRUB
grub-mkrescue -o "$work/tests.iso" "$work/iso" 2>/dev/null

cat >"$work/bochsrc" <<BOCHS
plugin_ctrl: speaker=0
config_interface: textconfig
display_library: $display
memory: host=1024, guest=1024
romimage: file="/usr/share/bochs/BIOS-bochs-latest"
vgaromimage: file="/usr/share/vgabios/vgabios.bin"
ata0-master: type=cdrom, path="$work/tests.iso", status=inserted
vga: update_freq=1
boot: cdrom
cpu: model=$cpu, ips=100000000
com1: enabled=1, mode=file, dev="$work/serial"
log: $work/log
BOCHS
run="$bochs -q -f '$work/bochsrc'"
if grep -q -e -rc <<<"$("$bochs" --help 2>&1)"; then  # One with a debugger, such as Debian's, asks what to do.
  echo continue >"$work/debugger"
  run+=" -rc '$work/debugger'"
fi
TERM=xterm script -qc "$run" /dev/null >/dev/null 2>&1 </dev/null || true
cat "$work/serial"
grep -q "^exit code 0" "$work/serial"
