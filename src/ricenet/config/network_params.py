"""The section `network` of the parameter file: a network by name, and the settings that this one takes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator, SerializeAsAny

from ricenet.config.types import Count, Section

Occlusion = Literal["residual", "whole"]
"""How hiding a box is computed: as a difference through residual blocks, or by whole forward passes."""


def safetensors_file(path: str) -> str:
    """The path, unless it is of another kind of file. Raises ValueError."""
    if not path.endswith(".safetensors"):
        raise ValueError(f"{path}: expected a .safetensors file; other formats may run code when read")
    return path


class NetworkParams(Section):
    """What every network has.

    norm: batch norm (the paper's), or group norm in groups of about 16 channels, which does not depend on the
    other samples of a batch. initial_weights: a safetensors file to begin from, or None for random weights.
    channel_dropout: probability with which a training sample shows a subset of its volumes only; above 0 the
    network also answers for cases that lack some (`ricenet.training.withheld_volumes`).
    """

    least_voxels: ClassVar[int] = 1
    """Of the cube along each axis; of fewer nothing is left in the last stage."""
    single_voxel: ClassVar[int]
    """The largest cube, along each axis, of which a single voxel is left in the last stage."""

    name: str
    norm: Literal["batch", "group"] = "batch"
    initial_weights: Annotated[str, AfterValidator(safetensors_file)] | None = None
    # left out of records where it is 0: those are what they were before there was such a setting
    channel_dropout: Annotated[float, Field(ge=0, le=1, exclude_if=lambda value: value == 0)] = 0.0

    @property
    def may_lack_volumes(self) -> bool:
        """Whether the network answers where volumes of its set are missing."""
        return self.channel_dropout > 0

    @property
    def uses_variables(self) -> bool:
        """Whether the network takes the declared variables beside the volumes."""
        return False

    @property
    def occlusion(self) -> Occlusion:
        """The quickest way to compute what hiding a box does."""
        return "whole"

    @abstractmethod
    def described(self, monai: str) -> str:
        """For the methods of a paper. monai: the library's version."""

    def misfits(
        self, sizes: Mapping[str, Sequence[int]], samples_at_once: int | None, has_variables: bool
    ) -> list[str]:
        """What of other sections the network cannot work with; a line a problem, by dotted path.

        sizes: voxels along the axes of what it sees, by the setting that says so.
        """
        problems = [
            f"{setting}: {min(voxels)} is too small for {self.name}, which needs at least {self.least_voxels}"
            for setting, voxels in sizes.items()
            if min(voxels) < self.least_voxels
        ]
        # one long axis leaves more than one value
        smallest = min(max(voxels) for voxels in sizes.values())
        if smallest <= self._single_voxel() and samples_at_once == 1 and self.norm == "batch":
            problems.append(
                "training.samples_at_once: 1 leaves batch norm a single value in the last stage of a cube of "
                f"{smallest} voxels; take 2 or more, or network.norm group"
            )
        if self.uses_variables and not has_variables:
            problems.append(
                "network.variables: true, but none are declared; declare some, or set it to false"
            )
        return problems

    def _single_voxel(self) -> int:
        return self.single_voxel


class ResNetParams(NetworkParams):
    """MONAI's 3D ResNet of basic blocks, with a stem of 7 voxels.

    widen_factor: channels relative to the standard's 64, 128, 256, 512; 1/64 leaves one channel.
    stem_stride: voxels, of the first convolution.
    """

    single_voxel: ClassVar[int] = 16
    """With a stem_stride of 1."""

    name: Literal["resnet18", "resnet10"] = "resnet18"
    widen_factor: Annotated[float, Field(ge=1 / 64, allow_inf_nan=False)]
    stem_stride: Annotated[int, Field(ge=1, le=4)]

    @property
    def occlusion(self) -> Occlusion:
        """By differences; not with group norm, of which a change anywhere changes the mean everywhere, and
        not beside planes that say which volumes are there.
        """
        return "residual" if self.norm == "batch" and not self.may_lack_volumes else "whole"

    def described(self, monai: str) -> str:
        """For the methods of a paper. monai: the library's version."""
        width = "" if self.widen_factor == 1 else f", {self.widen_factor:g} times as wide"
        stem = f"stride {self.stem_stride} of the stem{width}"
        layers = self.name.removeprefix("resnet")
        return f"ResNet-{layers} (MONAI {monai}; {self.norm} normalisation, {stem})"

    def _single_voxel(self) -> int:
        return self.single_voxel * self.stem_stride


class DenseNetParams(NetworkParams):
    """MONAI's 3D DenseNet-121."""

    least_voxels: ClassVar[int] = 29
    single_voxel: ClassVar[int] = 60

    name: Literal["densenet121"] = "densenet121"

    def described(self, monai: str) -> str:
        """For the methods of a paper. monai: the library's version."""
        return f"DenseNet-121 (MONAI {monai}; {self.norm} normalisation)"


class SmallCnnParams(NetworkParams):
    """Three convolutions, the mean over all voxels, one linear layer: for small cohorts.

    widths: channels of the convolutions. branches: convolutions of its own for every volume, whose logits are
    added, in place of volumes as channels. starts: networks of as many first weights learn from the same
    batches; their mean logit answers. variables: whether the declared variables join the linear layer.
    """

    single_voxel: ClassVar[int] = 4

    name: Literal["small_cnn"] = "small_cnn"
    widths: Annotated[list[Annotated[Count, Field(le=64)]], Field(min_length=3, max_length=3)] = Field(
        default_factory=lambda: [16, 32, 64]
    )
    branches: bool = False
    starts: Annotated[Count, Field(le=20)] = 1
    variables: bool = False

    @property
    def uses_variables(self) -> bool:
        """Whether the network takes the declared variables beside the volumes."""
        return self.variables

    def misfits(
        self, sizes: Mapping[str, Sequence[int]], samples_at_once: int | None, has_variables: bool
    ) -> list[str]:
        """As every network's; besides, branches see a volume each and no plane that says which are there."""
        problems = super().misfits(sizes, samples_at_once, has_variables)
        if self.branches and self.may_lack_volumes:
            problems.append(
                "network.channel_dropout: needs a network that sees all volumes at once; set "
                "network.branches to false, or channel_dropout to 0"
            )
        return problems

    def described(self, monai: str) -> str:
        """For the methods of a paper; it is not one of MONAI's."""
        widths = ", ".join(map(str, self.widths))
        parts = [f"{widths} channels", f"{self.norm} normalisation"]
        parts += ["a branch for every volume"] if self.branches else []
        parts += ["the variables of params.yaml join the linear layer"] if self.variables else []
        mean = (
            f"; the mean logit of {self.starts} networks of different first weights"
            if self.starts > 1
            else ""
        )
        return f"convolutional network of three layers ({'; '.join(parts)}{mean})"


class VisitsParams(NetworkParams):
    """An encoder shared by visits, and attention over them (`ricenet.training.visits_network`).

    widths: channels of the encoder's convolutions. heads: of the attention. difference: what a visit's MRIs
    are compared with, those of the first visit or of the one before. variables: whether the declared
    variables join the linear layer, and days from the end of radiotherapy are the visits' times.
    """

    single_voxel: ClassVar[int] = 4

    name: Literal["visits"] = "visits"
    widths: Annotated[list[Annotated[Count, Field(le=64)]], Field(min_length=3, max_length=3)] = Field(
        default_factory=lambda: [16, 32, 64]
    )
    heads: Annotated[Count, Field(le=16)] = 4
    difference: Literal["first", "previous"] = "first"
    variables: bool = False

    @property
    def uses_variables(self) -> bool:
        """Whether the network takes the declared variables beside the volumes."""
        return self.variables

    def misfits(
        self, sizes: Mapping[str, Sequence[int]], samples_at_once: int | None, has_variables: bool
    ) -> list[str]:
        """As every network's; besides, heads share the last width."""
        problems = super().misfits(sizes, samples_at_once, has_variables)
        if self.widths[-1] % self.heads:
            problems.append(
                f"network.heads: {self.heads} does not divide the last of network.widths, {self.widths[-1]}; "
                "change one of them"
            )
        return problems

    def described(self, monai: str) -> str:
        """For the methods of a paper; it is not one of MONAI's."""
        widths = ", ".join(map(str, self.widths))
        earlier = "the first visit's" if self.difference == "first" else "the visit's before"
        return (
            f"network of visits (one convolutional encoder of {widths} channels for the MRIs of each visit, "
            f"their difference from {earlier} and the dose; {self.norm} normalisation; attention of "
            f"{self.heads} head(s) over visits, with Time2Vec)"
        )


NETWORKS: Mapping[str, type[NetworkParams]] = {
    "resnet18": ResNetParams,
    "resnet10": ResNetParams,
    "densenet121": DenseNetParams,
    "small_cnn": SmallCnnParams,
    "visits": VisitsParams,
}
"""Every network by its name; `ricenet.training.networks` builds them."""


def network_by_name(section: Any) -> NetworkParams:
    """The section `network` as the settings of the network that it names; resnet18 where it names none.

    Raises ValueError: unknown network, or settings for which the network has no use.
    """
    if isinstance(section, NetworkParams):
        return section
    if not isinstance(section, Mapping):
        raise ValueError(f"expected the settings of a network, found {section!r}")
    name = section.get("name", "resnet18")
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; expected one of {', '.join(NETWORKS)}")
    known = {setting for kind in NETWORKS.values() for setting in kind.model_fields}
    if unused := sorted((known - set(NETWORKS[name].model_fields)) & set(section)):
        raise ValueError(f"{name} has no use for {', '.join(unused)}; remove what it does not take")
    return NETWORKS[name].model_validate(section)


Network = Annotated[SerializeAsAny[NetworkParams], PlainValidator(network_by_name)]
"""A section `network`."""
