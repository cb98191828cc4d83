//! The bpf(2) system call, as far as device programs need it: the only unsafe code of the crate, because neither rustix
//! nor nix wraps this system call.
#![allow(unsafe_code)]

use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// One instruction, in the kernel's layout (Documentation/bpf/standardization/instruction-set.rst): opcode, destination
/// and source register, offset, immediate, from the low bits to the high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Insn(pub(crate) u64);

/// A register; 0 holds the verdict, 1 the context at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reg(pub(crate) u8);

impl Insn {
    const fn new(opcode: u8, to: Reg, from: Reg, offset: i16, value: i32) -> Insn {
        Insn(
            opcode as u64
                | (to.0 as u64) << 8
                | (from.0 as u64) << 12
                | (offset as u16 as u64) << 16
                | (value as u32 as u64) << 32,
        )
    }

    /// `to = *(u32 *)(context + offset)`
    pub(crate) const fn load32(to: Reg, offset: i16) -> Insn {
        Insn::new(0x61, to, Reg(1), offset, 0)
    }

    /// `to = from`
    pub(crate) const fn copy(to: Reg, from: Reg) -> Insn {
        Insn::new(0xbf, to, from, 0, 0)
    }

    /// `to = value`
    pub(crate) const fn set(to: Reg, value: i32) -> Insn {
        Insn::new(0xb7, to, Reg(0), 0, value)
    }

    /// `to &= value`
    pub(crate) const fn and(to: Reg, value: i32) -> Insn {
        Insn::new(0x57, to, Reg(0), 0, value)
    }

    /// `to >>= bits`
    pub(crate) const fn shift_right(to: Reg, bits: i32) -> Insn {
        Insn::new(0x77, to, Reg(0), 0, bits)
    }

    /// `if reg != value, skip that many instructions`
    pub(crate) const fn skip_unless_equal(reg: Reg, value: i32, skip: usize) -> Insn {
        Insn::new(0x55, reg, Reg(0), skip as i16, value)
    }

    /// `if reg == value, skip that many instructions`
    pub(crate) const fn skip_if_equal(reg: Reg, value: i32, skip: usize) -> Insn {
        Insn::new(0x15, reg, Reg(0), skip as i16, value)
    }

    /// `return register 0`
    pub(crate) const fn exit() -> Insn {
        Insn::new(0x95, Reg(0), Reg(0), 0, 0)
    }
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// The programs that one cgroup may have (BPF_CGROUP_MAX_PROGS).
const MOST_PROGRAMS: usize = 64;

/// `union bpf_attr` as the command reads it.
///
/// # Safety
/// The type is `repr(C)`, laid out as the kernel has it for the command that it is passed with, without padding, and the
/// addresses in it are those of live buffers of the stated length.
unsafe trait Attr {}

#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    reserved: u32,
}

#[repr(C)]
struct GetFd {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

// SAFETY: laid out as the first 64 bytes of bpf_attr's BPF_PROG_LOAD part (include/uapi/linux/bpf.h); `load` fills it.
unsafe impl Attr for Load {}
// SAFETY: laid out as bpf_attr's BPF_PROG_ATTACH part; it has no addresses.
unsafe impl Attr for Attach {}
// SAFETY: laid out as the first 32 bytes of bpf_attr's `query`; `attached` fills it.
unsafe impl Attr for Query {}
// SAFETY: laid out as bpf_attr's BPF_*_GET_*_ID part; it has no addresses.
unsafe impl Attr for GetFd {}

fn bpf<A: Attr>(command: libc::c_long, attr: &mut A) -> Result<libc::c_long, Errno> {
    // SAFETY: by the contract of `Attr` the kernel reads and writes only this value, by its true size, and the buffers
    // that it names.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<A>(),
        )
    };
    match returned {
        0.. => Ok(returned),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

fn bpf_fd<A: Attr>(command: libc::c_long, attr: &mut A) -> Result<OwnedFd, Errno> {
    let fd = bpf(command, attr)? as i32;
    // SAFETY: the two commands it is called with return a new descriptor (close-on-exec), which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a device program.
pub(crate) fn load(program: &[Insn]) -> Result<OwnedFd, Errno> {
    // Only helpers marked GPL-only would ask for another one, and none is called.
    let license = c"Apache-2.0";
    let mut name = [0; 16];
    name[..7].copy_from_slice(b"ampoule");
    bpf_fd(
        PROG_LOAD,
        &mut Load {
            prog_type: PROG_TYPE_CGROUP_DEVICE,
            insn_cnt: program.len() as u32,
            insns: program.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: 0,
            prog_name: name,
        },
    )
}

/// The identifiers of the device programs of this very cgroup.
pub(crate) fn attached(cgroup: &impl AsFd) -> Result<Vec<u32>, Errno> {
    let mut ids = vec![0; MOST_PROGRAMS];
    let mut query = Query {
        target_fd: raw(cgroup),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        reserved: 0,
    };
    bpf(PROG_QUERY, &mut query)?;
    ids.truncate(query.prog_cnt as usize);
    Ok(ids)
}

/// Attaches a device program beside those that are there.
pub(crate) fn attach(cgroup: &impl AsFd, program: &impl AsFd) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &mut attr).map(drop)
}

/// Detaches the device program with that identifier.
pub(crate) fn detach(cgroup: &impl AsFd, id: u32) -> Result<(), Errno> {
    let mut attr = GetFd {
        prog_id: id,
        next_id: 0,
        open_flags: 0,
    };
    let program = bpf_fd(PROG_GET_FD_BY_ID, &mut attr)?;
    let mut attr = Attach {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(&program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
    };
    bpf(PROG_DETACH, &mut attr).map(drop)
}

fn raw(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}
