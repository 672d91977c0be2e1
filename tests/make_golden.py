"""Print golden.py's figures from the reference. Run by hand, once for each version of the format; never by a test."""

import hashlib

import golden
import reference


def main():
    for name, (x, dim, bits, limit) in golden.vectors().items():
        print(f'    "{name}": "{reference.pack_ordered(x, dim, bits, limit).tobytes().hex()}",')
    for name, (queries, rows, dim, bits, limit, query_bits) in golden.scorings().items():
        scores = reference.score_ordered(queries, rows, dim, bits, limit, query_bits)
        print(f'    "{name}": "{scores.astype("<f4").tobytes().hex()}",')
    for name, (rows, dim, bits) in golden.sketched().items():
        print(f'    "{name}": "{hashlib.sha256(reference.sketch(rows, dim, bits).tobytes()).hexdigest()}",')


if __name__ == "__main__":
    main()
