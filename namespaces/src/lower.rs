//! From a plan's steps to the child's flat program.

use crate::child::program::{Kind, NO_SLOT, Op, Program};
use ampoule_plan::{Action, Arg, Call, ChildStep, Fd, Micro, Operation, Phase, Plan, Syscall};
use std::ffi::{CStr, CString};

/// The child's program, and the bytes that its operations point to.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) ops: Vec<Op>,
    /// Words, so that what is in there is aligned as the kernel may want it.
    pub(crate) data: Vec<u64>,
    /// Words of the data that hold offsets into it, and must become addresses.
    pub(crate) relocations: Vec<usize>,
}

impl Image {
    /// Lowers a plan. Steps are numbered as the printed plan numbers them: birth is 1.
    pub(crate) fn new(plan: &Plan) -> Image {
        let mut image = Image::default();
        let mut phase = None;
        let mut at_gate = false;
        for (index, step) in plan.steps().iter().enumerate() {
            let number = index as u16 + 2;
            if phase.replace(step.phase) != Some(step.phase) {
                image.mark(step.phase, number);
            }
            match &step.action {
                Action::Child(child) => image.child(child, number),
                // A run of host steps is one gate.
                Action::Host(_) if at_gate => {}
                Action::Host(_) => image.ops.push(op(Kind::Gate, number)),
            }
            at_gate = matches!(step.action, Action::Host(_));
        }
        image
    }

    /// Turns offsets into addresses, for a child that sees this memory; the image must not move its data afterwards.
    pub(crate) fn relocate(&mut self) -> Program {
        let base = self.data.as_ptr() as u64;
        for index in std::mem::take(&mut self.relocations) {
            self.data[index] += base;
        }
        Program {
            ops: self.ops.as_ptr(),
            len: self.ops.len(),
            data: self.data.as_ptr().cast(),
        }
    }

    fn mark(&mut self, phase: Phase, step: u16) {
        self.ops.push(Op {
            number: phase as u32,
            ..op(Kind::Mark, step)
        });
    }

    fn child(&mut self, child: &ChildStep, step: u16) {
        let mut tolerated = [0; 4];
        for (place, errno) in tolerated.iter_mut().zip(&child.tolerate) {
            *place = *errno as i32 as u16;
        }
        if child.or_else.is_some() {
            let first = Op {
                has_alternative: true,
                ..self.call(&child.call, step)
            };
            self.ops.push(first);
        }
        let last = Op {
            tolerated,
            ..self.call(child.or_else.as_ref().unwrap_or(&child.call), step)
        };
        self.ops.push(last);
    }

    fn call(&mut self, call: &Call, step: u16) -> Op {
        match call.operation() {
            Operation::Micro(Micro::Fork) => op(Kind::Fork, step),
            Operation::Micro(Micro::Lifeline) => op(Kind::Lifeline, step),
            Operation::Micro(Micro::CloseFrom(first)) => Op {
                number: first,
                ..op(Kind::CloseFrom, step)
            },
            Operation::Syscall(syscall) => self.syscall(&syscall, step),
        }
    }

    fn syscall(&mut self, syscall: &Syscall<'_>, step: u16) -> Op {
        let mut lowered = Op {
            number: syscall.number,
            ..op(Kind::Syscall, step)
        };
        lowered.out = syscall.out.map_or(NO_SLOT, |slot| slot.index() as u16);
        for (index, arg) in syscall.args.iter().enumerate() {
            let word = match arg {
                Arg::Fd(Fd::Slot(slot)) => {
                    lowered.slots |= 1 << index;
                    slot.index() as u64
                }
                Arg::Fd(Fd::Cwd) => libc::AT_FDCWD as u64,
                Arg::Fd(Fd::Number(number)) => *number as u64,
                Arg::Int(number) => *number as u64,
                Arg::Octal(mode) => u64::from(*mode),
                Arg::Named(bits, _) => *bits,
                Arg::Null => 0,
                Arg::Text(_) | Arg::List(_) | Arg::Hidden(_) | Arg::Bytes(..) | Arg::Filter(_) => {
                    lowered.pointers |= 1 << index;
                    self.pointee(arg)
                }
            };
            lowered.args[index] = word;
        }
        lowered
    }

    /// Puts what an argument points to into the data, and returns where it is.
    fn pointee(&mut self, arg: &Arg<'_>) -> u64 {
        match arg {
            Arg::Text(text) => self.bytes(text.to_bytes_with_nul()),
            Arg::Bytes(bytes, _) => self.bytes(bytes),
            Arg::List(list) | Arg::Hidden(list) => self.list(list),
            Arg::Filter(filter) => self.filter(filter),
            _ => 0,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let offset = self.data.len() * 8;
        self.data.extend(bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(word)
        }));
        offset as u64
    }

    /// Texts, and a null-terminated list of their addresses.
    fn list(&mut self, list: &[CString]) -> u64 {
        let texts: Vec<u64> = list
            .iter()
            .map(|text| self.bytes(CStr::to_bytes_with_nul(text)))
            .collect();
        let offset = self.data.len() * 8;
        for text in texts {
            self.address(text);
        }
        self.data.push(0);
        offset as u64
    }

    /// A `struct sock_fprog`: a length, and the address of the instructions.
    fn filter(&mut self, filter: &[u64]) -> u64 {
        let instructions = (self.data.len() * 8) as u64;
        self.data.extend_from_slice(filter);
        let offset = self.data.len() * 8;
        let mut length = [0; 8];
        length[..2].copy_from_slice(&(filter.len() as u16).to_ne_bytes());
        self.data.push(u64::from_ne_bytes(length));
        self.address(instructions);
        offset as u64
    }

    /// A word that becomes an address.
    fn address(&mut self, offset: u64) {
        self.relocations.push(self.data.len());
        self.data.push(offset);
    }
}

fn op(kind: Kind, step: u16) -> Op {
    Op {
        kind,
        number: 0,
        args: [0; 6],
        pointers: 0,
        slots: 0,
        has_alternative: false,
        out: NO_SLOT,
        tolerated: [0; 4],
        step,
    }
}
