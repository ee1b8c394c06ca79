//! An answer as Markdown.

use super::{Block, Composed, Quote};
use crate::assistant::sentences::BETWEEN_CELLS;

impl Composed {
    /// The answer as Markdown, in pieces: each quote followed by its marker, `[1]`. Quotes are plain text: nothing in them is markup.
    pub(in crate::assistant) fn pieces(&self) -> Vec<String> {
        let before = std::iter::once(None).chain(self.quotes.iter().map(Some));
        before.zip(&self.quotes).map(|(before, quote)| piece(before, quote)).collect()
    }
}

fn piece(before: Option<&Quote>, quote: &Quote) -> String {
    let marker = quote.marker;
    let written = match quote.block {
        Block::Sentence => format!("{} [{marker}]", escaped(&quote.text)),
        Block::Item => format!("- {} [{marker}]", escaped(&quote.text)),
        Block::Step(number) => format!("{number}. {} [{marker}]", escaped(&quote.text)),
        // Tables begin with their first row and the line below it. A marker there would name a column.
        Block::Head => {
            let cells = quote.text.split(BETWEEN_CELLS).count();
            format!("| {} |\n|{}", row(&quote.text), " --- |".repeat(cells))
        }
        Block::Row => format!("| {} [{marker}] |", row(&quote.text)),
        Block::Code => {
            let fence = fence(&quote.text);
            format!("{fence}\n{}\n{fence}\n\n[{marker}]", quote.text)
        }
    };
    format!("{}{written}", before.map_or("", |before| between(before, quote)))
}

/// The cells of a row, without what stands around them.
fn row(text: &str) -> String {
    let cells: Vec<String> = text.split(BETWEEN_CELLS).map(|cell| escaped(cell).replace('|', "\\|")).collect();
    cells.join(BETWEEN_CELLS)
}

/// What stands between two quotes: sentences of one passage are a paragraph, items a list, rows a table.
fn between(a: &Quote, b: &Quote) -> &'static str {
    match (a.block, b.block) {
        (Block::Sentence, Block::Sentence) if a.marker == b.marker => " ",
        (Block::Step(_), Block::Step(_)) | (Block::Item, Block::Item) | (Block::Head | Block::Row, Block::Row) => "\n",
        _ => "\n\n",
    }
}

/// A fence that is longer than any in the code.
fn fence(code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
}

/// Plain text as Markdown that shows it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    let mut before = ' ';
    while let Some(character) = characters.next() {
        let is_markup = match character {
            '\\' | '`' | '*' | '[' | ']' | '<' | '~' => true,
            // Inside a word it is a letter.
            '_' => !(before.is_alphanumeric() && characters.peek().is_some_and(|next| next.is_alphanumeric())),
            // Of an entity.
            '&' => characters.peek().is_some_and(|next| next.is_ascii_alphanumeric() || *next == '#'),
            '#' | '-' | '+' | '>' => escaped.is_empty(),
            _ => false,
        };
        if is_markup {
            escaped.push('\\');
        }
        escaped.push(character);
        before = character;
    }
    // A number and a full stop would begin a list.
    let digits = escaped.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 && escaped[digits..].starts_with(['.', ')']) {
        escaped.insert(digits, '\\');
    }
    escaped
}
