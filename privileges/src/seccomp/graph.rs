//! Decisions as a graph: tests of one word each, which lead to other tests or to an action. Equal parts exist once.

use rustc_hash::FxHashMap;

/// A node's place in its [`Graph`]; what a node leads to has a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

/// A word of `seccomp_data`, by its offset in bytes, and which of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub offset: u32,
    pub mask: u32,
}

/// How a word is compared: the jumps that classic BPF has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Jump {
    Equal,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Return(u32),
    Test {
        word: Word,
        jump: Jump,
        value: u32,
        yes: NodeId,
        no: NodeId,
    },
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    known: FxHashMap<Node, NodeId>,
}

impl Word {
    pub const fn whole(offset: u32) -> Word {
        Word {
            offset,
            mask: u32::MAX,
        }
    }
}

impl NodeId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Graph {
    pub fn node(&self, id: NodeId) -> Node {
        self.nodes[id.index()]
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node that returns this value.
    pub fn result(&mut self, value: u32) -> NodeId {
        self.add(Node::Return(value))
    }

    /// A test; none is needed where both outcomes are the same.
    pub fn test(&mut self, word: Word, jump: Jump, value: u32, yes: NodeId, no: NodeId) -> NodeId {
        if yes == no {
            return yes;
        }
        match jump {
            Jump::GreaterOrEqual if value == 0 => yes,
            Jump::Greater if value == u32::MAX => no,
            _ => self.add(Node::Test {
                word,
                jump,
                value,
                yes,
                no,
            }),
        }
    }

    /// Finds by binary search in which span a word lies; each span begins at its number and ends before the next one's.
    pub fn search(&mut self, word: Word, spans: &[(u32, NodeId)]) -> NodeId {
        match spans {
            [] => unreachable!("a search has at least one span"),
            [(_, node)] => *node,
            // A single number among others: one test for equality instead of two for order.
            [(_, before), (at, node), (next, after)] if before == after && at + 1 == *next => {
                self.test(word, Jump::Equal, *at, *node, *before)
            }
            _ => {
                let (low, high) = spans.split_at(split(spans.len()));
                let border = high[0].0;
                let (yes, no) = (self.search(word, high), self.search(word, low));
                self.test(word, Jump::GreaterOrEqual, border, yes, no)
            }
        }
    }

    fn add(&mut self, node: Node) -> NodeId {
        let next = NodeId(self.nodes.len() as u32);
        let id = *self.known.entry(node).or_insert(next);
        if id == next {
            self.nodes.push(node);
        }
        id
    }
}

/// The half of a list, made odd: what is left in the end are then often three spans, which need one test.
fn split(len: usize) -> usize {
    let half = len / 2;
    match half.is_multiple_of(2) && half + 1 < len {
        true => half + 1,
        false => half,
    }
}
