import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from embedkit.config import ModelSpec
from embedkit.errors import UsageError
from embedkit.models import resnet
from embedkit.models.build import build_model, count_macs
from embedkit.models.network import Network, count_parameters
from embedkit.models.table import COUNTS, FAMILIES, MODELS, resolve

FRAMES, BANDS = 101, 64
SMALL = (51, 40)
BOTTLENECKS = [name for name in MODELS if name.startswith("bneck")]

# Parameters at 527 classes as the paper prints them (Tables 1 and 2): to the unit where it gives
# a configuration that counts to one, else in millions to two decimals.
TO_THE_UNIT = {
    **{"alexnet": 56_093_441, "alexnet-bn": 56_111_673, "gap": 2_589_135},
    **{"lstm": 85_539_343, "b-gru-att": 107_854_351, "resnet-50": 24_581_583},
}
IN_MILLIONS = {
    **{"alexnet": "56.09", "alexnet-bn": "56.11", "gap": "2.59"},
    **{"bneck-final-64": "54.30", "bneck-final-256": "55.17", "bneck-final-1024": "58.63"},
    **{"bneck-mid-64": "40.77", "bneck-mid-256": "42.29", "bneck-mid-1024": "48.41"},
    **{"fc-64": "3.07", "fc-256": "4.95", "fc-1024": "13.22"},
    **{"lstm": "85.54", "b-gru-att": "107.85", "resnet-50": "24.58"},
    "mlp": "9.00",  # the paper prints 9.48, which the configuration that it states does not have
    "gap-lite": "0.78",  # ours
}


def on_meta(name: str, **settings: int) -> Network:
    """A network without memory: shapes and counts alone."""
    with torch.device("meta"):
        return build_model(resolve(name, **settings))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on so small tensors wait for each other, for long where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=MODELS)
def network(request: pytest.FixtureRequest, narrow: None) -> tuple[str, Network]:
    """Each network in eval mode, for features of 51 x 40."""
    torch.manual_seed(0)
    return request.param, build_model(resolve(request.param, classes=10), SMALL).eval()


def test_every_model_has_the_papers_number_of_parameters() -> None:
    counts = {name: count_parameters(on_meta(name)) for name in MODELS}
    assert {name: f"{count / 1e6:.2f}" for name, count in counts.items()} == IN_MILLIONS
    assert {name: counts[name] for name in TO_THE_UNIT} == TO_THE_UNIT


def test_the_embedding_has_the_size_in_the_models_name_or_of_its_last_layer() -> None:
    sizes = {"alexnet": 3982, "alexnet-bn": 3982, "gap": 256, "gap-lite": 256}
    sizes |= {"mlp": 1000, "lstm": 2048, "b-gru-att": 4096, "resnet-50": 2048}
    for name in MODELS:
        size = sizes[name] if name in sizes else int(name.rsplit("-", 1)[1])
        net = on_meta(name)
        features = torch.zeros(2, 1, FRAMES, BANDS, device="meta")
        assert (net.embedding_size, net.embedding(features).shape) == (size, (2, size))
        assert [logits.shape for logits in net(features)] == [(2, 527)]


def test_a_batch_gives_what_single_segments_give(network: tuple[str, Network]) -> None:
    features = torch.randn(3, 1, *SMALL)
    with torch.inference_mode():
        (together,) = network[1](features)
        alone = torch.cat([network[1](item[None])[0] for item in features])
    assert together.std(dim=0).min() > 0  # the segments do differ
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_only_the_linear_and_states_have_negative_embeddings(
    network: tuple[str, Network],
) -> None:
    name, net = network
    with torch.inference_mode():
        embedding = net.embedding(torch.randn(8, 1, *SMALL))
    assert embedding.abs().max() > 0
    # The others come after a ReLU, or are means of what does.
    assert (embedding.min() < 0) == (name in {*BOTTLENECKS, "gap-lite", "lstm", "b-gru-att"})


@pytest.mark.parametrize("name", ["bneck-final-64", "bneck-mid-64"])
def test_a_bottleneck_is_one_linear_layer_between_relu_and_embedding(
    name: str, narrow: None
) -> None:
    # In training mode, where a batch normalisation or dropout around it would show.
    net = build_model(resolve(name, classes=2), SMALL).train()
    modules = dict(net.embedding.named_children())
    seen: dict[str, torch.Tensor] = {}
    fc = "fc2" if "final" in name else "fc1"
    modules[f"{fc}_relu"].register_forward_hook(lambda *call: seen.update(relu=call[2].clone()))
    with torch.no_grad():
        embedding = net.embedding(torch.randn(2, 1, *SMALL))
    layer = modules["bottleneck"]
    assert isinstance(layer, nn.Linear)
    torch.testing.assert_close(embedding, seen["relu"] @ layer.weight.T + layer.bias)


def test_fc_embedding_is_the_last_fc_layers_output() -> None:
    net = build_model(resolve("fc-64", classes=2), SMALL).eval()
    features = torch.randn(2, 1, *SMALL)
    layers = dict(net.embedding.named_children())
    with torch.inference_mode():
        x = features
        for name, layer in layers.items():
            if name == "fc2":
                break
            x = layer(x)
        # Of a new network the normalisation does nothing but divide by sqrt(1 + eps).
        by_hand = (x @ layers["fc2"].weight.T + layers["fc2"].bias) / (1 + 1e-5) ** 0.5
        torch.testing.assert_close(net.embedding(features), by_hand.clamp(min=0))


@pytest.mark.parametrize("dim", [64, 256])
def test_gap_embedding_is_the_mean_of_each_map_after_the_last_max_pool(dim: int) -> None:
    net = build_model(resolve("gap", dim=dim, classes=2)).eval()
    features = torch.randn(2, 1, FRAMES, BANDS)
    with torch.inference_mode():
        maps = features
        for name, layer in net.embedding.named_children():
            maps = layer(maps)
            if name == "pool5":
                break
        assert maps.shape == (2, dim, 5, 7)
        torch.testing.assert_close(net.embedding(features), maps.mean(dim=(2, 3)))


def test_dropout_acts_on_the_inputs_of_fc_and_output_layers_with_the_rate_asked_for() -> None:
    with torch.device("meta"):
        net = build_model(resolve("bneck-mid-64", dropout=0.3))
    halves = (net.embedding, net.heads["64"])
    names = [name for half in halves for name, _ in half.named_children()]
    after = {
        names[index + 1] for index, name in enumerate(names) if name.rpartition("_")[2] == "dropout"
    }
    assert after == {"fc1", "fc2", "output"}
    assert {part.p for part in net.modules() if isinstance(part, nn.Dropout)} == {0.3}


def test_batch_normalisation_stands_between_every_layer_and_its_relu_but_in_plain_alexnet() -> None:
    kinds = {}
    for name in ("alexnet", "alexnet-bn"):
        kinds[name] = [type(part).__name__ for part in on_meta(name).embedding]
    assert not any("BatchNorm" in kind for kind in kinds["alexnet"])
    followed = re.findall(r"(Conv2d|Linear) (\S+) ReLU", " ".join(kinds["alexnet-bn"]))
    assert followed == [("Conv2d", "BatchNorm2d")] * 5 + [("Linear", "BatchNorm1d")] * 2


def test_mlp_drops_no_features() -> None:
    names = [name for name, _ in on_meta("mlp").embedding.named_children()]
    layers = [[f"fc{n}_dropout", f"fc{n}", f"fc{n}_bn", f"fc{n}_relu"] for n in (1, 2, 3)]
    assert names == ["flatten", *layers[0][1:], *layers[1], *layers[2]]


def sigmoid(x: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + (-x).exp())


def test_lstm_embedding_is_the_third_layers_state_after_the_last_frame(narrow: None) -> None:
    net = build_model(resolve("lstm", classes=2), SMALL).eval()
    weights = net.embedding.lstm.state_dict()
    features = torch.randn(2, 1, *SMALL)
    frames = features[:, 0]
    for layer in range(3):
        w, u, b, c = (
            weights[f"{n}_l{layer}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        state = memory = torch.zeros(2, u.shape[1])
        states = []
        for frame in frames.unbind(dim=1):
            i, f, g, o = (frame @ w.T + b + state @ u.T + c).chunk(4, dim=1)
            memory = sigmoid(f) * memory + sigmoid(i) * g.tanh()
            state = sigmoid(o) * memory.tanh()
            states.append(state)
        frames = torch.stack(states, dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(net.embedding(features), frames[:, -1], rtol=1e-4, atol=1e-5)


def test_attention_sums_states_by_the_softmax_of_their_likeness_to_the_context(
    narrow: None,
) -> None:
    net = build_model(resolve("b-gru-att", classes=2), SMALL).eval()
    part = net.embedding
    features = torch.randn(2, 1, *SMALL)
    with torch.inference_mode():
        embedding = part(features)
        for item, states in enumerate(part.gru(features[:, 0])[0]):
            inner = [
                (part.attention.weight @ state + part.attention.bias).tanh() for state in states
            ]
            likeness = torch.stack([(part.context * vector).sum() for vector in inner])
            shares = likeness.exp() / likeness.exp().sum()
            assert shares.max() / shares.min() > 1.01  # they do differ
            by_hand = sum(share * state for share, state in zip(shares, states, strict=True))
            torch.testing.assert_close(embedding[item], by_hand, rtol=1e-4, atol=1e-6)


def test_resnet_50_ends_in_maps_of_7_by_4() -> None:
    net = on_meta("resnet-50")
    maps = torch.zeros(1, 1, FRAMES, BANDS, device="meta")
    shapes = {}
    for name, layer in net.embedding.named_children():
        maps = layer(maps)
        shapes[name] = tuple(maps.shape[1:])
    assert shapes["conv1"] == (64, 101, 64)
    assert shapes["stage1_block3"] == (256, 51, 32)
    assert shapes["stage4_block3"] == (2048, 7, 4)


def test_a_residual_block_adds_its_shortcut_before_the_relu() -> None:
    torch.manual_seed(0)
    block = resnet.Bottleneck(8, 2, stride=1).eval()
    maps = torch.randn(1, 8, 5, 4)
    with torch.inference_mode():
        torch.testing.assert_close(block(maps), (block.residual(maps) + maps).clamp(min=0))
        last = block.residual[-1]
        last.weight.zero_()
        last.bias.zero_()
        torch.testing.assert_close(block(maps), maps.clamp(min=0))


def test_gap_lite_is_separable_and_costs_about_18_million_macs() -> None:
    net = on_meta("gap-lite")
    kernels = [part for part in net.modules() if isinstance(part, nn.Conv2d)][1:]
    for part in kernels:  # each looks at one map, or at one place
        assert part.groups == part.in_channels or part.kernel_size == (1, 1)
    # Maps of 51 x 32, then 26 x 16, 13 x 8 and 7 x 4.
    sides, inputs, total = [51 * 32, 26 * 16, 13 * 8, 7 * 4], 24, 9 * 24 * 51 * 32
    for maps, side in ((40, 0), (80, 1), (80, 1), (176, 2), (176, 2), (384, 3), (384, 3)):
        total += sides[side] * (9 * inputs + inputs * maps)
        inputs = maps
    total += 2 * (64 + 80 + 176 + 384) * 256 + 256 * 527
    assert count_macs(resolve("gap-lite")) == total
    assert 17e6 < total < 19e6


MATRYOSHKA = [name for name, family in FAMILIES.items() if family.matryoshka]


@pytest.mark.parametrize("name", MATRYOSHKA)
def test_each_prefix_has_a_head_that_sees_nothing_else(name: str, narrow: None) -> None:
    net = build_model(resolve(name, dims=(128, 64, 200), classes=3), SMALL).eval()
    assert net.sizes == (64, 128, 200)
    features = torch.randn(2, 1, *SMALL)
    with torch.inference_mode():
        embedding = net.embedding(features)
        outputs = net(features)
        for size, logits in zip(net.sizes, outputs, strict=True):
            assert torch.equal(net.classify(embedding[:, :size]), logits)
    assert embedding.shape == (2, 200)
    single = build_model(resolve(name, dim=128, classes=3), SMALL)
    assert {key: value.shape for key, value in net.heads["128"].state_dict().items()} == {
        key: value.shape for key, value in single.heads["128"].state_dict().items()
    }


def test_count_macs_of_gap_is_the_closed_form() -> None:
    conv1 = (48 * 64) * 64 * (1 * 11 * 7)  # (101 + 2 x 2 - 11) // 2 + 1 = 48 frames, 64 bands
    conv2 = (23 * 31) * 192 * (64 * 5 * 5)  # after a 3/2 pool of 48 x 64
    conv345 = (11 * 15) * 9 * (384 * 192 + 256 * 384 + 256 * 256)  # after one of 23 x 31
    output = 527 * 256
    assert count_macs(resolve("gap")) == conv1 + conv2 + conv345 + output


def test_count_macs_of_recurrent_networks_are_the_closed_forms() -> None:
    gates = 4 * 2048 * ((64 + 2048) + 2 * (2048 + 2048))
    assert count_macs(resolve("lstm")) == 101 * gates + 2048 * 527
    gates = 2 * 3 * 2048 * ((64 + 2048) + (4096 + 2048))
    attention = 4096 * 1024 + 4096  # torch's counter has no products with a vector
    assert count_macs(resolve("b-gru-att")) == 101 * (gates + attention) + 4096 * 527


def test_other_shapes_of_features_are_built_to_fit() -> None:
    # conv1 (51 + 4 - 11) // 2 + 1 = 23 x 40, pooled to 11 x 19, 5 x 9 and 2 x 4
    with torch.device("meta"):
        net = build_model(resolve("fc-64"), SMALL)
    assert net.embedding.fc1.in_features == 256 * 2 * 4


@pytest.mark.parametrize(
    ("name", "dim", "family", "size"),
    [
        *((name, None, spec.name, spec.dim) for name, spec in MODELS.items()),
        ("bneck-mid", 256, "bneck-mid", 256),
        ("bneck-mid-256", 256, "bneck-mid", 256),
        ("fc", 100, "fc", 100),
        ("gap", 64, "gap", 64),
        ("bneck-final", 1024, "bneck-final", 1024),
    ],
)
def test_resolve_finds_names_and_families(
    name: str, dim: int | None, family: str, size: int | None
) -> None:
    assert resolve(name, dim=dim, dropout=0.1, classes=7) == ModelSpec(
        name=family, dim=size, dropout=0.1, classes=7
    )


def test_the_table_names_every_family_once_or_with_its_sizes() -> None:
    assert set(MODELS) == set(IN_MILLIONS)
    assert set(FAMILIES) == {spec.name for spec in MODELS.values()}
    assert {spec.classes for spec in MODELS.values()} == {527}


@pytest.mark.parametrize(
    ("name", "dim", "message"),
    [
        ("bneck-mdi-64", None, r"no model 'bneck-mdi-64'; did you mean bneck-mid-64\?"),
        ("alexnetbn", None, r"did you mean alexnet-bn\?"),
        ("transformer", None, r"no model 'transformer'; there are: mlp, lstm, b-gru-att, "),
        ("alexnet", 256, "the embedding size of alexnet is not free: leave out 256"),
        ("bneck-mid-256", 64, "bneck-mid-256 has a size of its own: name bneck-mid for size 64"),
        ("bneck-mid", 63, "embedding size 63: must be from 64 to 1024"),
        ("gap", 1025, "embedding size 1025: must be from 64 to 1024"),
        ("fc", None, "fc needs an embedding size, for example fc-256"),
    ],
)
def test_resolve_refuses_and_says_what_to_do(name: str, dim: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(name, dim=dim)


def test_dropout_is_the_papers_for_the_family() -> None:
    rates = {name: resolve(name).dropout for name in MODELS}
    assert {name for name, rate in rates.items() if rate == 0} == {"lstm", "b-gru-att"}
    assert set(rates.values()) == {0, 0.5}
    decays = {name for name, family in FAMILIES.items() if family.weight_decay}
    assert decays == set(FAMILIES) - {"lstm", "b-gru-att"}


@pytest.mark.parametrize(
    ("dims", "dim", "message"),
    [
        ((64, 128), 256, "sizes 64, 128 of an embedding of 256: expected ascending ones up to it"),
        ((64, 2000), None, "embedding size 2000: must be from 64 to 1024"),
    ],
)
def test_prefixes_that_cannot_be_are_refused(
    dims: tuple[int, ...], dim: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        resolve("gap", dim=dim, dims=dims)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "resnet"}, "no model 'resnet'; did you mean resnet-50?"),
        ({"name": "fc", "dim": 99, "dims": (64, 99)}, "fc has one size; several in one are for"),
        ({"name": "gap", "dim": 99, "dims": (9, 99)}, "embedding size 9: must be from 64 to 1024"),
        ({"name": "gap"}, "gap needs an embedding size"),
        ({"name": "fc", "dim": 10**12}, "embedding size 1000000000000: must be from 64 to 1024"),
        ({"name": "alexnet", "dim": 64}, "the embedding size of alexnet is not free"),
    ],
)
def test_build_model_refuses_a_spec_that_resolve_would_not_give(
    spec: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        build_model(ModelSpec(classes=2, **spec))


def test_gap_lite_pools_the_mean_and_deviation_of_bands_and_maps() -> None:
    net = build_model(resolve("gap-lite", dim=64, classes=3), SMALL).eval()
    embedding = net.embedding
    features = torch.randn(3, 1, *SMALL, dtype=torch.float64)
    embedding.double()
    with torch.inference_mode():
        series, maps = [features[:, 0]], embedding.stem(features)
        for stage in embedding.stages:
            maps = stage(maps)
            series.append(maps.mean(dim=3).mT)
        found = embedding(features).numpy()
    pooled = [
        part
        for each in (one.numpy() for one in series)
        for part in (each.mean(axis=1), np.sqrt(each.var(axis=1) + 1e-5))
    ]
    norm, line = embedding.normalise, embedding.projection
    mean, variance = norm.running_mean.numpy(), norm.running_var.numpy()
    normal = (np.concatenate(pooled, axis=1) - mean) / np.sqrt(variance + norm.eps)
    expected = normal @ line.weight.detach().numpy().T + line.bias.detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [527, 10])
def test_the_table_of_counts_is_what_the_networks_have(name: str, classes: int) -> None:
    spec = replace(MODELS[name], classes=classes)
    with torch.device("meta"):
        network = build_model(spec)
    found = COUNTS[name].with_classes(classes)
    assert found.parameters == count_parameters(network)
    assert found.macs == count_macs(spec)
    assert found.embedding_size == network.embedding_size
