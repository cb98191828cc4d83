//! Waits in a pool for the rest of a plan, and plays it.

use crate::child::program::{Op, Program, Report, SLOTS};
use crate::child::{Life, play as play_life};
use crate::kernel::{call, exit, number};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// What comes with the file descriptors: the sizes of the parts of the image, each in its own units.
#[repr(C)]
pub struct Header {
    /// Operations.
    pub ops: u64,
    /// Words of data that hold offsets.
    pub relocations: u64,
    /// Words of data.
    pub data: u64,
    /// The slot of the gate's socket.
    pub gate: u64,
    /// File descriptors below this number are for the program.
    pub reserved: u64,
    /// The slots that the file descriptors behind the first two fill.
    pub slots: [u16; 256],
}

#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fds: [i32; 254],
}

#[repr(C)]
struct Part {
    base: *mut u8,
    length: usize,
}

#[repr(C)]
struct Message {
    name: usize,
    name_length: u32,
    parts: *const Part,
    part_count: usize,
    control: *mut Control,
    control_length: usize,
    flags: i32,
}

const F_DUPFD_CLOEXEC: usize = 1030;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const PROT_READ_WRITE: usize = 3;
const MAP_SHARED: usize = 1;
const MAP_PRIVATE: usize = 2;

/// Receives an image (a memory file), a report page (another) and the file descriptors of the slots; plays it.
///
/// # Safety
/// `socket` must be one at whose other end the host is.
pub unsafe fn play(socket: i32) -> ! {
    let mut header = Header { ops: 0, relocations: 0, data: 0, gate: 0, reserved: 0, slots: [0; 256] };
    let mut control = Control { length: 0, level: 0, kind: 0, fds: [-1; 254] };
    let count = receive(socket, &mut header, &mut control);
    if count < 2 {
        // The pool let go of us.
        exit(0);
    }
    let ops_size = header.ops as usize * size_of::<Op>();
    let size = ops_size + (header.relocations + header.data) as usize * 8;
    let image = map(control.fds[0], size, MAP_PRIVATE);
    let report = map(control.fds[1], size_of::<Report>(), MAP_SHARED) as *const Report;
    // SAFETY: the host made both as the header says; nobody else writes to our private copy of the image.
    unsafe {
        let relocations = (image + ops_size) as *const u64;
        let data = relocations.add(header.relocations as usize) as *mut u64;
        for index in 0..header.relocations as usize {
            let word = data.add(*relocations.add(index) as usize);
            *word += data as u64;
        }
        for (slot, fd) in header.slots.iter().zip(control.fds.iter().take(count).skip(2)) {
            let slots: &[AtomicI32; SLOTS] = &(*report).slots;
            if let Some(place) = slots.get(usize::from(*slot)) {
                place.store(keep_clear(*fd, header.reserved), Relaxed);
            }
        }
        let program = Program { ops: image as *const Op, len: header.ops as usize, data: data.cast() };
        let gate = header.gate as u16;
        let socket = keep_clear(socket, header.reserved.max(socket as u64 + 1));
        let mut life =
            Life { program, report, lifeline: socket, gate, second_stack: 0, second_stack_size: 0, next: 0, fork_flags: 0 };
        play_life(&raw mut life as usize)
    }
}

/// Moves a file descriptor to a number that is not reserved, close-on-exec.
fn keep_clear(fd: i32, reserved: u64) -> i32 {
    if fd as u64 >= reserved {
        return fd;
    }
    let moved = call(number::FCNTL, [fd as usize, F_DUPFD_CLOEXEC, reserved as usize, 0, 0, 0]);
    call(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]);
    moved as i32
}

/// Returns how many file descriptors came; 0 when the other end is closed.
fn receive(socket: i32, header: &mut Header, control: &mut Control) -> usize {
    let part = Part { base: (header as *mut Header).cast(), length: size_of::<Header>() };
    let mut message = Message {
        name: 0,
        name_length: 0,
        parts: &part,
        part_count: 1,
        control,
        control_length: size_of::<Control>(),
        flags: 0,
    };
    let word = &raw mut message as usize;
    let received = call(number::RECVMSG, [socket as usize, word, MSG_CMSG_CLOEXEC, 0, 0, 0]);
    if received <= 0 || message.control_length < 16 {
        return 0;
    }
    // SAFETY: the kernel filled it through the pointer in the message.
    let length = unsafe { (*message.control).length };
    (length.saturating_sub(16)) / 4
}

fn map(fd: i32, size: usize, sharing: usize) -> usize {
    let address = call(number::MMAP, [0, size, PROT_READ_WRITE, sharing, fd as usize, 0]);
    if (-4095..0).contains(&address) {
        exit(126);
    }
    call(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]);
    address as usize
}
