//! Questions that no document answers.

use std::{fs, path::Path};

use anyhow::Context as _;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    text: String,
}

/// So many of a file's questions, always the same.
pub(crate) fn questions(file: &Path, count: usize) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {}: name another with --off-topic", file.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut questions: Vec<String> =
        lines.map(|line| Ok(serde_json::from_str::<Line>(line)?.text)).collect::<serde_json::Result<_>>()?;
    questions.shuffle(&mut StdRng::seed_from_u64(1));
    questions.truncate(count);
    Ok(questions)
}
