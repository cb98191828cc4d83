use super::{Action, Arch, syscalls};
use std::fmt;

/// One instruction of classic BPF: the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip if a comparison holds.
    pub jt: u8,
    /// How many to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// `BPF_LD | BPF_W | BPF_ABS`: loads a word of `seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub(super) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub(super) const GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(super) const GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`.
const ANY_BIT: u16 = 0x45;
/// `BPF_RET | BPF_K`.
pub(super) const RETURN: u16 = 0x06;

/// What a filter sees of a system call: the kernel's `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// The call's number; `-1` (all bits set) is a call that a tracer skips.
    pub number: u32,
    /// `AUDIT_ARCH_*`, as [`Arch::audit`] gives it.
    pub arch: u32,
    /// The address of the instruction that made the call.
    pub instruction_pointer: u64,
    /// The arguments.
    pub arguments: [u64; 6],
}

impl Data {
    /// The call of this number through this ABI.
    pub fn new(arch: Arch, number: u32, arguments: [u64; 6]) -> Data {
        Data {
            number,
            arch: arch.audit(),
            instruction_pointer: 0,
            arguments,
        }
    }

    /// The 32-bit word at an offset; none if there is no such word.
    fn word(&self, offset: u32) -> Option<u32> {
        let half = |value: u64| match offset % 8 {
            0 => value as u32,
            _ => (value >> 32) as u32,
        };
        match offset {
            0 => Some(self.number),
            4 => Some(self.arch),
            8 | 12 => Some(half(self.instruction_pointer)),
            16..64 if offset.is_multiple_of(4) => {
                Some(half(self.arguments[(offset as usize - 16) / 8]))
            }
            _ => None,
        }
    }
}

/// A BPF program for seccomp: instructions that any filter compiler may have written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Program {
    instructions: Vec<Instruction>,
}

impl Program {
    /// Takes instructions as they are.
    pub fn new(instructions: Vec<Instruction>) -> Program {
        Program { instructions }
    }

    /// Reads an array of `struct sock_filter` of this machine, such as `seccomp_export_bpf` writes; none unless its length
    /// is a multiple of eight.
    pub fn from_bytes(bytes: &[u8]) -> Option<Program> {
        let (instructions, rest) = bytes.as_chunks::<8>();
        let instruction = |b: &[u8; 8]| Instruction {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        };
        rest.is_empty()
            .then(|| Program::new(instructions.iter().map(instruction).collect()))
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The instructions as the kernel wants them in memory: an array of `struct sock_filter`, one in each `u64`.
    pub fn to_words(&self) -> Vec<u64> {
        self.instructions.iter().map(Instruction::to_word).collect()
    }

    /// Runs the program on a call, as the kernel does.
    ///
    /// A program that the kernel would not load (it runs off its end, reads what is not there, or uses an instruction that
    /// seccomp has no use for) gives [`Action::KillProcess`]: it never lets a call pass.
    pub fn run(&self, data: &Data) -> Action {
        Action::from_return_value(self.result(data).unwrap_or(u32::MAX))
    }

    fn result(&self, data: &Data) -> Option<u32> {
        let mut accumulator = 0;
        let mut at = 0;
        // Jumps go forward only, so this ends.
        loop {
            let Instruction { code, jt, jf, k } = *self.instructions.get(at)?;
            let skip = |holds: bool| usize::from(if holds { jt } else { jf });
            at += 1;
            match code {
                LOAD => accumulator = data.word(k)?,
                AND => accumulator &= k,
                JUMP => at += k as usize,
                EQUAL => at += skip(accumulator == k),
                GREATER => at += skip(accumulator > k),
                GREATER_OR_EQUAL => at += skip(accumulator >= k),
                ANY_BIT => at += skip(accumulator & k != 0),
                RETURN => return Some(k),
                _ => return None,
            }
        }
    }
}

impl Instruction {
    /// The instruction as `struct sock_filter` lies in memory.
    pub fn to_word(&self) -> u64 {
        let [c0, c1] = self.code.to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        u64::from_ne_bytes([c0, c1, self.jt, self.jf, k0, k1, k2, k3])
    }
}

/// A disassembly: one numbered line an instruction, jumps with their targets, numbers with their names.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut loaded = "nothing".to_string();
        let mut arch = Arch::native();
        for (at, instruction) in self.instructions.iter().enumerate() {
            let Instruction { code, jt, jf, k } = *instruction;
            let (yes, no) = (at + 1 + usize::from(jt), at + 1 + usize::from(jf));
            write!(f, "{at:4}  ")?;
            let mut test = |operator: &str| {
                let name = match operator {
                    "==" => meaning(&loaded, k, &mut arch),
                    _ => String::new(),
                };
                writeln!(
                    f,
                    "if {loaded} {operator} {k:#x}{name} then {yes} else {no}"
                )
            };
            match code {
                LOAD => {
                    loaded = field(k);
                    writeln!(f, "load {loaded}")?;
                }
                AND => {
                    loaded = format!("{loaded} & {k:#x}");
                    writeln!(f, "mask to {loaded}")?;
                }
                JUMP => writeln!(f, "goto {}", at + 1 + k as usize)?,
                EQUAL => test("==")?,
                GREATER => test(">")?,
                GREATER_OR_EQUAL => test(">=")?,
                ANY_BIT => test("&")?,
                RETURN => writeln!(f, "return {}", Action::from_return_value(k))?,
                _ => writeln!(f, "code {code:#x} {jt} {jf} {k:#x}")?,
            }
        }
        Ok(())
    }
}

fn field(offset: u32) -> String {
    match offset {
        0 => "number".into(),
        4 => "arch".into(),
        8 | 12 => "instruction pointer".into(),
        _ => {
            let half = if offset.is_multiple_of(8) {
                "low"
            } else {
                "high"
            };
            format!("argument {} {half}", offset.saturating_sub(16) / 8)
        }
    }
}

/// The name behind a compared value. A number's depends on the ABI, which is that of the last test of it.
fn meaning(loaded: &str, value: u32, arch: &mut Option<Arch>) -> String {
    let named = match loaded {
        "arch" => {
            let found = Arch::ALL.into_iter().find(|arch| arch.audit() == value);
            *arch = found.or(*arch);
            found.map(|arch| arch.to_string())
        }
        "number" => arch
            .and_then(|arch| {
                let x32 = value & 0x4000_0000 != 0 && arch == Arch::X86_64;
                syscalls::name(if x32 { Arch::X32 } else { arch }, value)
            })
            .map(str::to_string),
        _ => None,
    };
    named.map_or(String::new(), |name| format!(" ({name})"))
}
