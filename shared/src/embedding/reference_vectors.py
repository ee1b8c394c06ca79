#!/usr/bin/env python3
"""Writes reference_vectors.json: what local.rs's vectors are tested against.

    pip install numpy tokenizers
    python reference_vectors.py MODEL_DIR > reference_vectors.json

BERT computed in 64-bit floating point, one text at a time, without padding,
straight from model.safetensors: it shares no code, no graph and no engine with
local.rs. Slow and simple on purpose. Vectors are in millionths.
"""

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

WINDOW_TOKENS = 256
HEADS, HEAD_SIZE = 12, 32

PARAGRAPH = (
    "To connect your help center to a support inbox, open Settings, choose Channels and press Add channel. "
    "Pick the kind of inbox, sign in with an account that may read tickets, and allow access. The first import "
    "reads the last ninety days and takes a few minutes for every thousand tickets; you can close the page while "
    "it runs. "
)
LONG = 4 * (
    PARAGRAPH
    + "Imported tickets are matched with articles by what they ask, not by the words they use. A ticket that no "
    "article answers counts as a gap, and gaps that look alike are grouped, so that one missing article shows up "
    "once, with the number of customers it would have helped. Press Draft to have a first version of the article "
    "written from the answers your team has already given; nothing is published until somebody has read it. "
)
TEXTS = [
    # Short questions and statements.
    "How do I reset my password?",
    "I forgot my password and can't log in",
    "Where can I download my invoices?",
    "The quarterly report shows revenue in the wrong currency.",
    # Nothing, next to nothing, nothing but punctuation.
    "",
    "   \t\n  ",
    "?!... --- ;;; (((",
    "a",
    # A paragraph, more than the window, and the same with yet another end.
    PARAGRAPH,
    LONG,
    LONG + "The very end of this text lies beyond the window and must not matter.",
    # Codes and code.
    "Error E_CONN_4012: connection reset by peer (os error 104) at 10.0.3.17:5432",
    'fn main() {\n    let xs: Vec<u32> = (0..10).filter(|n| n % 2 == 0).collect();\n    println!("{xs:?}");\n}',
    "SELECT id, title FROM articles WHERE tenant_id = $1 AND published_at <= now() ORDER BY rank DESC LIMIT 10;",
    "https://help.example.com/en/articles/billing/refunds?ref=mail#partial-refunds",
    # Other languages and scripts.
    "Où puis-je télécharger ma facture ? Réponse : dans l'espace « Facturation ».",
    "Wie setze ich mein Passwort zurück? Über „Einstellungen“ – außer bei SSO-Zugängen.",
    "パスワードを忘れた場合はどうすればよいですか?",
    "如何重置密码？请在设置页面点击“忘记密码”。",
    "비밀번호를 재설정하려면 어떻게 해야 하나요?",
    "كيف يمكنني إعادة تعيين كلمة المرور؟",
    "पासवर्ड कैसे रीसेट करें?",
    # Emoji, composed and decomposed accents, invisible and styled characters, a null.
    "Refund please 😡😡 it broke again 🤷🏽\u200d♀️ … thanks 🙏",
    "Cafe\u0301 or caf\u00e9, nai\u0308ve or na\u00efve: \u200bzero\u200dwidth\ufeff, \u00adsoft hyphen, "
    "\U0001d53c\U0001d55e\U0001d553\U0001d556\U0001d555, and \u0000 a null",
    # Words longer than the tokenizer takes apart (100 characters).
    "Pneumonoultramicroscopicsilicovolcanoconiosis " + "x" * 150 + " supercalifragilisticexpialidocious",
    # The same beginning.
    "The export of all articles as Markdown failed with a timeout",
    "The export of all articles as Markdown failed with a timeout after we had renamed the default category",
    # Text that looks like the tokenizer's own markers.
    "Literal markers in a question: what do [CLS], [SEP] and [MASK] mean?",
]

erf = np.vectorize(math.erf)


class Bert:
    def __init__(self, path):
        content = Path(path).read_bytes()
        (header_length,) = struct.unpack_from("<Q", content)
        data = content[8 + header_length :]
        self.weights = {}
        for name, entry in json.loads(content[8 : 8 + header_length]).items():
            if entry.get("dtype") == "F32":
                begin, end = entry["data_offsets"]
                values = np.frombuffer(data[begin:end], np.float32).astype(np.float64)
                self.weights[name] = values.reshape(entry["shape"])

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def layer_norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, x, name):
        count = len(x)
        query, key, value = (
            self.linear(x, f"{name}.self.{part}").reshape(count, HEADS, HEAD_SIZE).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(HEAD_SIZE)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ value).transpose(1, 0, 2).reshape(count, HEADS * HEAD_SIZE)
        return self.layer_norm(self.linear(mixed, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")

    def hidden_states(self, ids):
        """Token ids [T] -> [T, 384]."""
        words = self.weights["embeddings.word_embeddings.weight"][ids]
        positions = self.weights["embeddings.position_embeddings.weight"][: len(ids)]
        token_type = self.weights["embeddings.token_type_embeddings.weight"][0]
        x = self.layer_norm(words + positions + token_type, "embeddings.LayerNorm")
        for index in range(6):
            name = f"encoder.layer.{index}"
            x = self.attention(x, f"{name}.attention")
            wide = self.linear(x, f"{name}.intermediate.dense")
            wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
            x = self.layer_norm(self.linear(wide, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")
        return x


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    bert = Bert(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(WINDOW_TOKENS)

    rows = []
    for text in TEXTS:
        vector = bert.hidden_states(np.array(tokenizer.encode(text).ids)).mean(0)
        vector /= np.linalg.norm(vector)
        millionths = json.dumps([round(float(value) * 1e6) for value in vector], separators=(",", ":"))
        rows.append(f'{{"text":{json.dumps(text)},\n"vector_millionths":{millionths}}}')
    print("[\n" + ",\n".join(rows) + "\n]")


if __name__ == "__main__":
    main()
