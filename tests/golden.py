"""Bytes that must never change: inputs that need no random numbers, their codes, and the bits of their scores."""

import numpy as np


def waves(n, dim, dtype=np.float32):
    """Rows from integers alone, exact in every type: no library's sine or random numbers to depend on."""
    i, r = np.arange(dim), np.arange(n)[:, None]
    return ((((i * 37 + r * 101) * (i + 3 * r + 11)) % 257 - 128) / 128).astype(dtype)


def vectors():
    """Return name -> (rows, dim, bits, limit)."""
    spike = np.zeros((1, 32), np.float32)
    spike[0, 5] = -3.0
    return {
        "arctic int4": (waves(2, 300), 256, 4, 0.18),
        "arctic int8": (waves(2, 300), 256, 8, 0.30),
        "halves": (waves(2, 64, np.float16), 64, 4, 0.25),
        "doubles": (waves(2, 64, np.float64) / 3, 64, 8, 0.30),
        "odd dimensions": (waves(3, 7), 7, 8, 0.9),
        "two dimensions": (waves(5, 2), 2, 4, 0.9),
        "zero": (np.zeros((1, 16), np.float32), 16, 4, 0.18),
        "zero, 8 bits": (np.zeros((1, 8), np.float32), 8, 8, 0.30),
        "one value": (spike, 32, 4, 0.18),
        "tiny": (waves(1, 32) * np.float32(1e-42), 32, 8, 0.4),
        "huge": (waves(1, 32) * np.float32(2e38), 32, 8, 0.4),
        "huge doubles": (waves(1, 32, np.float64) * 1e300, 32, 8, 0.4),
    }


def scorings():
    """Return name -> (queries, rows of codes, dim, bits, limit, query_bits)."""
    rows4 = (np.arange(3 * 128).reshape(3, 128) * 89 % 256).astype(np.uint8)
    rows8 = (np.arange(3 * 31).reshape(3, 31) * 57 % 256).astype(np.uint8)
    return {
        f"{bits} bits, query_bits {query_bits}": (queries, rows, dim, bits, limit, query_bits)
        for queries, rows, dim, bits, limit in (
            (waves(2, 256), rows4, 256, 4, 0.18),
            (waves(2, 31, np.float64), rows8, 31, 8, 0.5),
        )
        for query_bits in (4, 8, 32)
    }


def sketched():
    """Return name -> (rows of codes, dim, bits)."""
    shapes = {
        "arctic int4": (150, 256, 4),
        "arctic int8": (70, 256, 8),
        "384 dimensions": (65, 384, 4),
        "odd": (9, 31, 8),
    }
    return {
        name: ((np.arange(n * dim * bits // 8).reshape(n, -1) * 89 % 257 % 256).astype(np.uint8), dim, bits)
        for name, (n, dim, bits) in shapes.items()
    }


# fmt: off
CODES = {
    "arctic int4": (
        "3aa39894bb5bab6458435a88c8895347435a894a9c767a77a545966943486685359679656a88b8794bb5bac7569657cab5bb3867"
        "b88a64596684c475573b375574c48669546a88b7683bb5bac7569657cab5bb4978b88a656976953586684349669545a77a767c9a"
        "498a5347435988c88a5348546bab5bb49893aa3878c99c8783b37447cbc74473b38558535977a7683aa4a9b7559557baa5ba3867"
        "b88a64596684c485584c48568535977a657b99398a5c373c4978b8795347446b9a5bb4978c99c867b99b768c99c8794bb5a9b644"
        "7435978b8794c373c5a89399b756a77953586584c485584c48669546a88b7683ab5aab7559557b9a4aa3867a77953585"
    ),
    "arctic int8": (
        "509597558d81915da4a766a096a8755e63825f5669978288a98780946450587b5a546a9b8992579692aa7d6c779c7e7c956a5a66"
        "8d71708a605260886d6e8a6155648e7476946d62729e8689a883798b59a2a667a39bae7e696f916e687dad99a165a39e5587757e"
        "a38480986b5b668c6e6c855aaa577f63627d54a5547d62637f57aa5a856c6e8c665b6b988084a37e7587559ea365a199ad7d686e"
        "916f697eae9ba367a6a2598b7983a889869e72626d9476748e6455618a6e6d886052608a70718d665a6a957c7e9c776c7daa9296"
        "5792899b6a545a7b585064948087a988829769565f82635e75a896a066a7a45d91818d55979550857784ac9191ac84778056a553"
        "7a5e5e78ada0ad785e5e7a53a55680676986615667927b7e9d79708251999e609b94a777636a8b6a6479a8959d63a19c5586747e"
        "a28481986d5d688e716f895fae5d846969835bac5c856b6c886156658f777997726778a48d91528c849665ad557653aa608e7a81"
        "a3827d9264525a7d5e5a70a2919a62a19e598c7c88ae9190a980727fa68c8ca67f7280a99091ae887c8c599ea1629a91a2705a5e"
        "7d5a5264927d82a3817a8e60aa537655ad6596848c52918da47867729779778f655661886c6b855cac5b836969845dae5f896f71"
        "8e685d6d988184a27e7486559ca1639d95a879646a8b6a6377a7949b609e99518270799d7e7b926756618669"
    ),
    "halves": (
        "1bb298a3dd4cbd6338324b89d88a4127215b9a2bad756c77a42495593139559382d17336ece63371d28448324a77c7581bc3bad6"
        "459547dac4cb2867c88b5349"
    ),
    "doubles": (
        "22abae2b9a83a33cc8ce4ec0acce6b3e46853e2e53ae8490d18d80a84a233176352a55b692a32fada5d37b596eb97d78a954364d"
        "9b626094422641915c5c9344802fc829753f3e71d8bed8713e3f7529c82f8050548d44304fa4767db973618425b0ba43b5a6cc70"
        "485596564a72cfaab948c0b72c8c6a7cc38882b05c3d529c"
    ),
    "odd dimensions": "26a9ac2e9983a1803bbd3676494863b26c629532de",
    "two dimensions": "0b803faf12",
    "zero": "8888888888888888",
    "zero, 8 bits": "8080808080808080",
    "one value": "88888088888888888888888888888888",
    "tiny": "22aaad2b9a83a33cc8ce4ec0acce6b3e47853f2e53ae8490d18d80a84a233176",
    "huge": "22abad2b9a83a23cc8cd4ec0acce6b3e47853f2e53ae8490d18d80a84a233276",
    "huge doubles": "22abad2b9a83a23cc8cd4ec0acce6b3e47853f2e53ae8490d18d80a84a233276",
}

SCORES = {  # little-endian binary32
    "4 bits, query_bits 4": "04cde7bd587641bc04cde7bdeed3713e312853beeed3713e",
    "4 bits, query_bits 8": "ee5df8bd9fcbb4bcee5df8bd9d7a683ef2a853be9d7a683e",
    "4 bits, query_bits 32": "516bf8bd0a03afbc516bf8bda27e683e63e153bea27e683e",
    "8 bits, query_bits 4": "8fe4b93e31fe4a3e0909893ea69483bdb1e4973e41fd38bd",
    "8 bits, query_bits 8": "d71b9b3eb334653eede9883edff28dbd07f58e3e83f885bd",
    "8 bits, query_bits 32": "05a89b3ec5f5653e3dce893ee6df8fbd4b428f3ec7bb85bd",
}
# fmt: on
SKETCHES = {  # SHA-256
    "arctic int4": "83e260e8d7d0f39c5d914b7182eb3914b2dac68b6ec5fa279d7a678f64dfcda0",
    "arctic int8": "dc6096fd4aed96cf601d0c6e1b541a825bb7311903b403bd101f961feb76b54b",
    "384 dimensions": "59b9d54eac566b78d9aa339e72f1bbe601c7d0cdec844d96f3d87ed5eec09608",
    "odd": "c0b6f02ea9ec93d9efd78e487f8b71b11346648934163d493e98f1c1647065f0",
}
