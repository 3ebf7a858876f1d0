"""The network `bilstm-attn` in PyTorch and ONNX Runtime, with weights from a formula.

numbers   prints the logits and reconstructions that crates/score/src/network/pytorch.txt holds
speed     prints windows per CPU second of one thread: what network_speed.sh compares
training  prints training steps (forwards, backwards, AdamW) likewise

Needs torch, onnx, onnxruntime. The same formula stands in crates/score/src/network/tests.rs and network_speed.rs.
"""

import argparse
import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Net(nn.Module):
    """Layers: LSTM both ways, layer norm, residual; then attention, residual, layer norm; then two heads."""

    def __init__(self, width, hidden, attention, heads, classes):
        super().__init__()
        self.lstm, self.norm, self.residual = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inputs = width
        for units in hidden:
            self.lstm.append(nn.LSTM(inputs, units, batch_first=True, bidirectional=True))
            self.norm.append(nn.LayerNorm(2 * units))
            same = inputs == 2 * units
            self.residual.append(nn.Identity() if same else nn.Linear(inputs, 2 * units, bias=False))
            inputs = 2 * units
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(inputs, attention) for _ in range(3))
        self.o = nn.Linear(attention, inputs)
        self.attn_norm = nn.LayerNorm(inputs)
        self.head_hidden, self.head_logits = nn.Linear(inputs, hidden[-1]), nn.Linear(hidden[-1], classes)
        narrow = -(-width // 4)
        self.reconstruct_hidden, self.reconstruct_output = nn.Linear(inputs, narrow), nn.Linear(narrow, width)

    def forward(self, x, lengths=None, rebuild=False):
        """x: [windows, steps, width]; with lengths, padded on the right."""
        for lstm, norm, residual in zip(self.lstm, self.norm, self.residual):
            if lengths is None:
                y, _ = lstm(x)
            else:
                packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
                y, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.shape[1])
            x = norm(y) + residual(x)
        b, t, _ = x.shape
        q, k, v = (part(x).view(b, t, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        mask = None
        if lengths is not None:
            mask = (torch.arange(t)[None, :] < lengths[:, None])[:, None, None, :]
        gathered = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.attn_norm(x + self.o(gathered.transpose(1, 2).reshape(b, t, -1)))
        logits = self.head_logits(F.relu(self.head_hidden(x)))
        if not rebuild:
            return logits
        return logits, self.reconstruct_output(F.relu(self.reconstruct_hidden(x)))

    def tensors(self):
        """Names in model files, with the parameters they fill. One bias of a gate is both of PyTorch's."""
        named = {}
        for i, lstm in enumerate(self.lstm):
            for direction, suffix in (("forward", ""), ("backward", "_reverse")):
                prefix = f"lstm{i}.{direction}."
                named[prefix + "w_ih"] = getattr(lstm, f"weight_ih_l0{suffix}")
                named[prefix + "w_hh"] = getattr(lstm, f"weight_hh_l0{suffix}")
                named[prefix + "b"] = getattr(lstm, f"bias_ih_l0{suffix}")
            if isinstance(self.residual[i], nn.Linear):
                named[f"residual{i}.weight"] = self.residual[i].weight
        modules = {f"norm{i}": norm for i, norm in enumerate(self.norm)}
        modules |= {f"attn.{name}": getattr(self, name) for name in "qkvo"}
        modules |= {
            "attn.norm": self.attn_norm,
            "head.hidden": self.head_hidden,
            "head.logits": self.head_logits,
            "reconstruct.hidden": self.reconstruct_hidden,
            "reconstruct.output": self.reconstruct_output,
        }
        for name, module in modules.items():
            named[name + ".weight"], named[name + ".bias"] = module.weight, module.bias
        return dict(sorted(named.items()))

    @torch.no_grad()
    def fill(self):
        """Value i of the k-th tensor by name: a sine, around 1 for the scales of norms, smaller for wide matrices."""
        for lstm in self.lstm:
            lstm.bias_hh_l0.zero_()
            lstm.bias_hh_l0_reverse.zero_()
        for k, (name, tensor) in enumerate(self.tensors().items()):
            wave = np.sin(0.37 * np.arange(tensor.numel(), dtype=np.float64) + k)
            if tensor.dim() == 2:
                wave /= math.sqrt(tensor.shape[1])
            else:
                wave *= 0.1
                if "norm" in name and name.endswith("weight"):
                    wave += 1.0
            tensor.copy_(torch.from_numpy(wave.astype(np.float32)).view_as(tensor))
        return self


def inputs_of(steps, width):
    """Input j of all steps, counted through: twice a sine."""
    wave = 2.0 * np.sin(0.61 * np.arange(steps * width, dtype=np.float64))
    return torch.from_numpy(wave.astype(np.float32)).view(steps, width)


def onnx_session(net, width, hidden, heads):
    """The same net as a graph, one thread."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [], []
    named = {name: tensor.detach().numpy() for name, tensor in net.tensors().items()}

    def weight(name, value):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def linear(x, name, output):
        y = node("MatMul", [x, weight(name + ".w", named[name + ".weight"].T)], output + ".product")
        return node("Add", [y, weight(name + ".b", named[name + ".bias"])], output)

    def norm(x, name, output):
        scale, bias = weight(name + ".s", named[name + ".weight"]), weight(name + ".b", named[name + ".bias"])
        return node("LayerNormalization", [x, scale, bias], output, axis=-1, epsilon=1e-5)

    def gates(matrix):
        i, f, g, o = np.split(matrix, 4)
        return np.concatenate([i, o, f, g])

    x, inputs = "x", width  # [steps, windows, inputs]
    for i, units in enumerate(hidden):
        sides = [f"lstm{i}.forward.", f"lstm{i}.backward."]
        w, r = (np.stack([gates(named[side + part]) for side in sides]) for part in ("w_ih", "w_hh"))
        b = np.stack([np.concatenate([gates(named[side + "b"]), np.zeros(4 * units, np.float32)]) for side in sides])
        y = node("LSTM", [x, weight(f"w{i}", w), weight(f"r{i}", r), weight(f"b{i}", b)], f"lstm{i}",
                 hidden_size=units, direction="bidirectional")
        y = node("Transpose", [y], f"turned{i}", perm=[0, 2, 1, 3])
        y = node("Reshape", [y, weight(f"flat{i}", np.array([0, 0, 2 * units]))], f"both{i}")
        y = norm(y, f"norm{i}", f"normed{i}")
        if inputs != 2 * units:
            x = node("MatMul", [x, weight(f"residual{i}.w", named[f"residual{i}.weight"].T)], f"projected{i}")
        x = node("Add", [y, x], f"layer{i}")
        inputs = 2 * units
    attention = net.q.out_features
    split = weight("split", np.array([0, 0, heads, attention // heads]))
    # Queries, values: [windows, heads, steps, head]; keys with the last two exchanged.
    parts = {}
    for name, turn in (("q", [1, 2, 0, 3]), ("k", [1, 2, 3, 0]), ("v", [1, 2, 0, 3])):
        y = node("Reshape", [linear(x, f"attn.{name}", name), split], name + ".split")
        parts[name] = node("Transpose", [y], name + ".turned", perm=turn)
    scores = node("MatMul", [parts["q"], parts["k"]], "scores")
    scale = weight("scale", np.array((attention // heads) ** -0.5, np.float32))
    shares = node("Softmax", [node("Mul", [scores, scale], "scaled")], "shares", axis=-1)
    y = node("Transpose", [node("MatMul", [shares, parts["v"]], "gathered")], "gathered.turned", perm=[2, 0, 1, 3])
    y = node("Reshape", [y, weight("join", np.array([0, 0, attention]))], "joined")
    x = norm(node("Add", [x, linear(y, "attn.o", "o")], "attended"), "attn.norm", "steps")
    y = node("Relu", [linear(x, "head.hidden", "head")], "active")
    linear(y, "head.logits", "logits")
    classes = net.head_logits.out_features
    graph = helper.make_graph(
        nodes,
        "bilstm-attn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["steps", "windows", width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["steps", "windows", classes])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def lengths_of(windows, steps):
    """Fixed lengths; steps 0: what a network of hosts gives, mostly short windows, 16 at most."""
    if steps:
        return [steps] * windows
    mix = [1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 6, 8, 12, 16]
    return [mix[i % len(mix)] for i in range(windows)]


def numbers():
    net = Net(6, [8, 5, 5], 6, 2, 3).fill().eval()
    lengths = torch.tensor([3, 1, 2])
    steps = inputs_of(6, 6)
    x = torch.zeros(3, 3, 6)
    for window, (first, length) in enumerate(zip((0, 3, 4), lengths)):
        x[window, :length] = steps[first : first + length]
    logits, rebuilt = net(x, lengths, rebuild=True)
    for name, result in (("logits", logits), ("reconstruction", rebuilt)):
        print(f"# {name}")
        for window, length in enumerate(lengths):
            for row in result[window, :length].tolist():
                print(*(f"{value:.7f}" for value in row))


def rate(work, windows, seconds, clock):
    """Windows per CPU second."""
    work()
    count, start = 0, clock()
    while clock() - start < seconds:
        work()
        count += 1
    return windows * count / (clock() - start)


SHAPES = {"256-128-64": [256, 128, 64], "128-64": [128, 64], "64-32": [64, 32]}


@torch.no_grad()
def speed(seconds, windows):
    for shape, hidden in SHAPES.items():
        net = Net(50, hidden, 128, 8, 8).fill().eval()
        session = onnx_session(net, 50, hidden, 8)
        for steps in (1, 16, 0):
            lengths = lengths_of(windows, steps)
            x = torch.zeros(windows, max(lengths), 50)
            flat, first = inputs_of(sum(lengths), 50), 0
            for window, length in enumerate(lengths):
                x[window, :length] = flat[first : first + length]
                first += length
            ragged = None if steps else torch.tensor(lengths)
            turned = np.ascontiguousarray(x.transpose(0, 1).numpy())
            if steps:
                theirs = session.run(None, {"x": turned})[0].transpose(1, 0, 2)
                difference = np.abs(theirs - net(x).numpy()).max()
                assert difference < 1e-3, difference
            label = steps or "mixed"
            print("pytorch", shape, label, rate(lambda: net(x, ragged), windows, seconds, time.thread_time), flush=True)
            # Without a mask: ONNX Runtime computes the padding, which is what a rectangle costs.
            print("onnxruntime", shape, label,
                  rate(lambda: session.run(None, {"x": turned}), windows, seconds, time.thread_time), flush=True)


def training(seconds):
    for shape, steps, windows in (("256-128-64", 16, 64), ("64-32", 8, 128), ("64-32", 0, 128)):
        net = Net(50, SHAPES[shape], 128, 8, 8).fill().train()
        lengths = lengths_of(windows, steps)
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
        x = inputs_of(windows * max(lengths), 50).view(windows, -1, 50)
        mask = torch.arange(x.shape[1])[None, :] < torch.tensor(lengths)[:, None]
        target = torch.arange(windows * x.shape[1]).view(windows, -1)[mask] % 8
        ragged = None if steps else torch.tensor(lengths)

        def step():
            logits, rebuilt = net(x, ragged, rebuild=True)
            loss = F.cross_entropy(logits[mask], target) + F.mse_loss(rebuilt[mask], x[mask])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        label = steps or "mixed"
        print("pytorch", shape, label, rate(step, windows, seconds, time.process_time), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["numbers", "speed", "training"])
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time of each figure")
    parser.add_argument("--windows", type=int, default=512)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "numbers":
        numbers()
    elif arguments.what == "speed":
        speed(arguments.seconds, arguments.windows)
    else:
        training(arguments.seconds)


if __name__ == "__main__":
    main()
