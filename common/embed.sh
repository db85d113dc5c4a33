#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Writes a C file that puts the named files into a program: embed.sh TABLE FILE...
# The table is described in common/embed.h.
set -eu
table=$1
shift
echo '#include "common/embed.h"'
n=0
for file in "$@"; do
    n=$((n + 1))
    printf '__asm__(".section .rodata\\n%s_%d:\\n.incbin \\"%s\\"\\n%s_%d_end:\\n.byte 0\\n.previous");\n' \
        "$table" "$n" "$file" "$table" "$n"
    printf 'extern const char %s_%d[], %s_%d_end[];\n' "$table" "$n" "$table" "$n"
done
printf 'const struct embedded_file %s[] = {\n' "$table"
n=0
for file in "$@"; do
    n=$((n + 1))
    printf '    {"%s", %s_%d, %s_%d_end},\n' "${file##*/}" "$table" "$n" "$table" "$n"
done
printf '    {0},\n};\n'
