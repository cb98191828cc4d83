//! A graph becomes a BPF program.
//!
//! It is written backwards, from the actions to the entry: jumps go forward only, so that every target is already in place.
//! A conditional jump reaches 255 instructions; for a target beyond, a bridge is laid right behind the jump: a copy of a
//! return, or a long jump.

use super::graph::{Graph, Jump, Node, NodeId, Word};
use super::program::{
    AND, EQUAL, GREATER, GREATER_OR_EQUAL, Instruction, JUMP, LOAD, Program, RETURN,
};
use crate::Error;

/// The kernel's `BPF_MAXINSNS`.
const LONGEST: usize = 4096;

pub(super) fn assemble(graph: &Graph, root: NodeId) -> Result<Program, Error> {
    let order = successors_first(graph, root);
    let loads = loads(graph, &order);
    let mut assembler = Assembler {
        backwards: Vec::with_capacity(order.len() * 2),
        entries: vec![None; graph.len()],
    };
    for &id in &order {
        assembler.place(graph, id, loads[id.index()]);
    }
    let mut instructions = assembler.backwards;
    match instructions.len() {
        0..=LONGEST => {
            instructions.reverse();
            Ok(Program::new(instructions))
        }
        long => Err(Error::FilterTooLong(long)),
    }
}

/// The nodes that can be reached, each behind all that it leads to.
fn successors_first(graph: &Graph, root: NodeId) -> Vec<NodeId> {
    let mut order = Vec::with_capacity(graph.len());
    let mut seen = vec![false; graph.len()];
    let mut todo = vec![(root, false)];
    while let Some((id, done)) = todo.pop() {
        if done {
            order.push(id);
            continue;
        }
        if std::mem::replace(&mut seen[id.index()], true) {
            continue;
        }
        todo.push((id, true));
        if let Node::Test { yes, no, .. } = graph.node(id) {
            todo.push((yes, false));
            todo.push((no, false));
        }
    }
    order
}

/// What a test must do before it can compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prepare {
    Nothing,
    Mask,
    Load,
}

/// What the accumulator holds when a node is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    NotEntered,
    Word(Word),
    Unknown,
}

/// A word that every way to a node has already loaded need not be loaded again.
fn loads(graph: &Graph, order: &[NodeId]) -> Vec<Prepare> {
    let mut held = vec![Held::NotEntered; graph.len()];
    let mut prepare = vec![Prepare::Nothing; graph.len()];
    for &id in order.iter().rev() {
        let Node::Test { word, yes, no, .. } = graph.node(id) else {
            continue;
        };
        prepare[id.index()] = match held[id.index()] {
            Held::Word(there) if there == word => Prepare::Nothing,
            Held::Word(there) if there == Word::whole(word.offset) => Prepare::Mask,
            _ => Prepare::Load,
        };
        for next in [yes, no] {
            let there = &mut held[next.index()];
            *there = match *there {
                Held::NotEntered => Held::Word(word),
                same if same == Held::Word(word) => same,
                _ => Held::Unknown,
            };
        }
    }
    prepare
}

struct Assembler {
    /// The program from its end; an instruction's index here is its distance from the end.
    backwards: Vec<Instruction>,
    /// Where each node is entered: at its code, or at the latest bridge to it.
    entries: Vec<Option<usize>>,
}

impl Assembler {
    fn place(&mut self, graph: &Graph, id: NodeId, prepare: Prepare) {
        match graph.node(id) {
            Node::Return(value) => self.push(RETURN, 0, 0, value),
            Node::Test {
                word,
                jump,
                value,
                yes,
                no,
            } => {
                self.compare(graph, jump, value, yes, no);
                if prepare != Prepare::Nothing && word.mask != u32::MAX {
                    self.push(AND, 0, 0, word.mask);
                }
                if prepare == Prepare::Load {
                    self.push(LOAD, 0, 0, word.offset);
                }
            }
        }
        self.entries[id.index()] = Some(self.backwards.len() - 1);
    }

    fn compare(&mut self, graph: &Graph, jump: Jump, value: u32, yes: NodeId, no: NodeId) {
        let code = match jump {
            Jump::Equal => EQUAL,
            Jump::Greater => GREATER,
            Jump::GreaterOrEqual => GREATER_OR_EQUAL,
        };
        loop {
            match (
                u8::try_from(self.distance(yes)),
                u8::try_from(self.distance(no)),
            ) {
                (Ok(jt), Ok(jf)) => return self.push(code, jt, jf, value),
                (Err(_), _) => self.bridge(graph, yes),
                (_, Err(_)) => self.bridge(graph, no),
            }
        }
    }

    /// How many instructions lie between the one to be written next and a node.
    fn distance(&self, id: NodeId) -> usize {
        let entry = self.entries[id.index()].unwrap_or(0);
        self.backwards.len() - entry - 1
    }

    fn bridge(&mut self, graph: &Graph, id: NodeId) {
        match graph.node(id) {
            Node::Return(value) => self.push(RETURN, 0, 0, value),
            Node::Test { .. } => {
                let distance = self.distance(id);
                self.push(JUMP, 0, 0, distance as u32);
            }
        }
        self.entries[id.index()] = Some(self.backwards.len() - 1);
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        self.backwards.push(Instruction { code, jt, jf, k });
    }
}
