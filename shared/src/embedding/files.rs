//! The local model's two files: found, checked against their published hashes, read.
//!
//! `minilm.onnx` names the tensors it needs; they have meaning only in the file
//! the graph was made for, so nothing is read from a file with another hash.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use rten_tensor::NdTensorView;
use rten_tensor::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::EmbedError;

pub(super) const MODEL_DIR_VARIABLE: &str = "EMBEDDING_MODEL_DIR";

pub(super) const MODEL_NAME: &str = "all-MiniLM-L6-v2";

pub(super) const WEIGHTS: ModelFile =
    ModelFile { name: "model.safetensors", sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db" };

pub(super) const TOKENIZER: ModelFile =
    ModelFile { name: "tokenizer.json", sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037" };

/// A file of the model's folder: its name, and what must be in it.
pub(super) struct ModelFile {
    name: &'static str,
    pub(super) sha256: &'static str,
}

impl ModelFile {
    /// The file, at its start, once all of it has been hashed.
    pub(super) fn open(&self, dir: &Path) -> Result<File, EmbedError> {
        let error = |error: io::Error| self.misconfigured(dir, &error);
        let mut file = File::open(dir.join(self.name)).map_err(error)?;
        let found = sha256(&mut file).map_err(error)?;
        if found != self.sha256 {
            let expected = self.sha256;
            return Err(
                self.misconfigured(dir, &format!("it is not the published file (sha256 {found}, expected {expected})"))
            );
        }
        file.rewind().map_err(error)?;
        Ok(file)
    }

    /// What is wrong, with the file, the variable and the cure.
    pub(super) fn misconfigured(&self, dir: &Path, cause: &impl ToString) -> EmbedError {
        EmbedError::Misconfigured(format!(
            "{path}: {cause}; {MODEL_DIR_VARIABLE} must name the folder of {MODEL_NAME}, which \
             `make up` fetches",
            path = dir.join(self.name).display(),
            cause = cause.to_string(),
        ))
    }
}

fn sha256(reader: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digest = hash.finalize();
    Ok(digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}

/// An entry of a safetensors header.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// Every f32 tensor of a safetensors file, by the file name that `minilm.onnx`
/// has for it: `NAME.data`, or `NAME.transposed.data` for the encoder's matrices.
///
/// Format: a u64 with the header's length, the header in JSON, then the tensors
/// without gaps (the safetensors format's own description).
///
/// They are read, not mapped: a map would be unsafe (the process dies when the
/// file is cut short underneath), and the half of it that is matrices would be
/// copied anyway, to be transposed.
pub(super) fn read_tensors(file: File) -> io::Result<HashMap<String, Vec<u8>>> {
    let mut file = BufReader::new(file);
    let mut header_length = [0; 8];
    file.read_exact(&mut header_length)?;
    let header = file.by_ref().take(u64::from_le_bytes(header_length));
    let entries: HashMap<String, Entry> = serde_json::from_reader(header)?;
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);

    let mut tensors = HashMap::new();
    for (name, entry) in entries {
        let [begin, end] = entry.data_offsets;
        let mut bytes = vec![0; end.saturating_sub(begin)];
        file.read_exact(&mut bytes)?;
        if entry.dtype != "F32" {
            continue;
        }
        match *entry.shape {
            [rows, columns] if name.starts_with("encoder.") => {
                let (values, _) = bytes.as_chunks::<4>();
                let matrix = NdTensorView::try_from_data([rows, columns], values).map_err(io::Error::other)?;
                let transposed = matrix.transposed().to_vec().into_flattened();
                tensors.insert(format!("{name}.transposed.data"), transposed);
            }
            _ => {
                tensors.insert(format!("{name}.data"), bytes);
            }
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn tensors_are_read_in_the_order_of_their_bytes_and_matrices_are_transposed() {
        let header = r#"{"encoder.matrix":{"dtype":"F32","shape":[2,3],"data_offsets":[12,36]},
            "__metadata__":{"format":"pt"},
            "ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},
            "bias":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
        let mut content = (header.len() as u64).to_le_bytes().to_vec();
        content.extend_from_slice(header.as_bytes());
        content.extend_from_slice(&[0; 8]);
        for value in [7.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0] {
            content.extend_from_slice(&value.to_le_bytes());
        }
        let path = env::temp_dir().join(format!("safetensors-{}", process::id()));
        fs::write(&path, content).unwrap();
        let tensors = read_tensors(File::open(&path).unwrap()).unwrap();
        fs::remove_file(&path).unwrap();

        let values = |name: &str| -> Vec<f32> {
            let (values, rest) = tensors[name].as_chunks();
            assert!(rest.is_empty());
            values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        assert_eq!(tensors.len(), 2);
        assert_eq!(values("bias.data"), [7.0]);
        assert_eq!(values("encoder.matrix.transposed.data"), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
