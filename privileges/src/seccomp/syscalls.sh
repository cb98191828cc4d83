#!/bin/sh
# Writes syscalls.tsv: the number of every system call of Linux in each ABI that a filter can be compiled for.
#
#     ./syscalls.sh ~/.cargo/registry/src/*/linux-raw-sys-0.12.1 > syscalls.tsv
#
# The numbers are the kernel's, taken from its UAPI headers by way of the crate `linux-raw-sys`, which ships a rendering
# for every architecture. A name that none of our ABIs has stays in the table with dashes: a profile may name it, and
# means another architecture then, not a slip of the pen.
set -eu

source=$1/src

header() {
    awk '/LINUX_VERSION_MAJOR/ { major = $NF } /LINUX_VERSION_PATCHLEVEL/ { minor = $NF }
        END { printf "# Linux %d.%d\n", major, minor }' "$source/x86_64/general.rs"
    printf '# name\tx86_64\tx86\tx32\taarch64\tarm\n'
}

# One line a call: ABI, name, number. ARM's private calls carry a prefix of their own.
numbers() {
    for abi in x86_64 x86 x32 aarch64 arm mips mips64 powerpc powerpc64 riscv64 s390x loongarch64; do
        sed -nE 's/^pub const __(ARM_)?NR_([a-z0-9_]+): u32 = ([0-9]+);$/'"$abi"' \2 \3/p' "$source/$abi/general.rs"
    done
    # Calls that only old kernels or 32-bit s390 have; libseccomp and Docker's profiles name them.
    printf 'none %s 0\n' s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr
}

header
numbers | awk '
    $2 !~ /^(syscalls|syscall|arch_specific_syscall|multiplexer|(reserved|unused)[0-9]+)$/ { names[$2]; number[$1, $2] = $3 }
    END {
        split("x86_64 x86 x32 aarch64 arm", abis)
        for (name in names) {
            line = name
            for (i = 1; i <= 5; i++) line = line "\t" (((abis[i], name) in number) ? number[abis[i], name] : "-")
            print line
        }
    }' | LC_ALL=C sort
