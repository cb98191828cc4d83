//! Words of an instruction, with quotes still in them: what they mean is decided when variables are known.

/// Splits at spaces that are neither quoted nor escaped; each word with the byte at which it begins.
pub(super) fn split(text: &str, escape: char) -> Vec<(usize, &str)> {
    let (mut words, mut start, mut quote, mut escaped) = (Vec::new(), None, None, false);
    for (offset, c) in text.char_indices() {
        let is_space = c.is_whitespace() && quote.is_none() && !escaped;
        match (start, is_space) {
            (None, false) => start = Some(offset),
            (Some(begin), true) => {
                words.push((begin, &text[begin..offset]));
                start = None;
            }
            _ => {}
        }
        match (quote, c) {
            _ if escaped => {}
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        escaped = c == escape && !escaped && quote != Some('\'');
    }
    if let Some(begin) = start {
        words.push((begin, &text[begin..]));
    }
    words
}
