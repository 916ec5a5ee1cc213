"""What may be asked of the processes: the same choices as on the command line; inputs are ids, never paths."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from palimpsest.codec.contract import EncodeSettings, asked_to_keep
from palimpsest.cubes import Window

Bound = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bounds = Annotated[list[Bound], Field(min_length=1, max_length=65536)]
Name = Field(pattern=r"^(cube|artifact)-[0-9a-f]{16}$")
# 'active', 'packaged', 'none', the number of a published release, or (the beginning of) its hash; never a path.
Release = Field("active", pattern=r"^(active|packaged|none|[0-9]{1,7}|[0-9a-f]{8,64})$")
Row = Annotated[int, Field(ge=0)]
Id = Annotated[str, Name]
Part = Literal["graph_processor", "semantic_mapper", "rule_constrainer", "aligner", "confidence"]
MOST_TOGETHER = 64


class CompressRequest(BaseModel):
    """A cube to a stream: a rate, an error bound, or every bit."""

    model_config = ConfigDict(extra="forbid")

    cube: str = Name
    mode: Literal["rate", "bound", "lossless"] = "rate"
    bpppc: float | None = Field(None, gt=0, le=64)
    max_error: Bound | Bounds | None = Field(None, description="for all bands, or one for each")
    keep: str | None = Field(None, max_length=64, description="'labels', 'features=D', or both with a comma")
    knowledge: str = Release
    strength: float = Field(0.5, ge=0, le=1)
    effort: int = Field(5, ge=1, le=9)
    denoise: bool = Field(False, description="take the noise off before coding; the stream records it")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.mode == "bound") != (self.max_error is not None):
            raise ValueError("max_error goes with mode 'bound', and mode 'bound' needs it")
        if self.mode != "rate" and (self.bpppc is not None or self.keep is not None):
            raise ValueError("bpppc and keep go with mode 'rate'")
        if self.keep is not None and self.knowledge == "none":
            raise ValueError("nothing can be kept without knowledge")
        asked_to_keep(self.keep or "")  # its error is a ValueError too
        return self

    def settings(self) -> EncodeSettings:
        """As the encoder wants them."""
        labels, depths = asked_to_keep(self.keep or "")
        keeps = labels or depths is not None
        rate = self.bpppc if self.bpppc is not None or keeps or self.mode != "rate" else 0.5
        strength = 0.0 if self.knowledge == "none" else self.strength
        bounds = tuple(self.max_error) if isinstance(self.max_error, list) else self.max_error
        return EncodeSettings(
            mode=self.mode, bpppc=rate, max_error=bounds, strength=strength, effort=self.effort,
            keep_labels=labels, keep_depths=depths,
        )


class DecompressRequest(BaseModel):
    """A stream to a cube: whole, coarser, a window or some bands."""

    model_config = ConfigDict(extra="forbid")

    stream: str = Name
    level: int = Field(0, ge=0, le=32, description="stop before the N finest levels")
    window: str | None = Field(None, max_length=64, description="R0:R1,C0:C1, 0-based, half-open")
    bands: str | None = Field(None, pattern=r"^[0-9]{1,6}:[0-9]{1,6}$", description="A:B, 0-based, half-open")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.slices()  # its errors are ValueErrors too
        return self

    def slices(self) -> tuple[Window | None, slice | None]:
        """The window and the bands asked for."""
        window = None if self.window is None else Window.parse(self.window)
        if self.bands is None:
            return window, None
        first, last = (int(part) for part in self.bands.split(":"))
        if first >= last:
            raise ValueError("bands are A:B with A < B")
        return window, slice(first, last)


class _Restoring(BaseModel):
    """What a restoration of one cube and of many have in common."""

    model_config = ConfigDict(extra="forbid")

    knowledge: str = Release
    full: bool = Field(True, description="store every exact contribution, so that a click is answered at once")
    denoise: bool = Field(False, description="take the noise off measured voxels too")
    infer_opaque: bool = Field(False, description="also infer opaque and noisy bands")
    leave_out: list[Part] = Field([], max_length=5, description="parts of the integrator to do without")
    edges: bool = Field(True, description="of the integrator's graph")

    def settings(self) -> dict[str, Any]:
        """What a record keeps of it, enough to do it again."""
        return {
            "knowledge": self.knowledge, "denoised": self.denoise, "infer_opaque": self.infer_opaque,
            "parts_left_out": list(self.leave_out), "edges": self.edges,
        }


class RestoreRequest(_Restoring):
    """A cube or stream to a restored cube.

    ``mask`` is a cube of uint8 in the input's shape, 1 = usable; with it no defects are searched for.
    """

    input: str = Name
    mask: Id | None = None


class RestoreGroupRequest(_Restoring):
    """Cubes or streams to restored cubes, in their order, each with its group: those of one place help each other.

    ``masks`` has an entry a cube, null for a cube without.
    """

    inputs: list[Id] = Field(min_length=1, max_length=MOST_TOGETHER)
    masks: list[Id | None] = Field([], max_length=MOST_TOGETHER)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.masks and len(self.masks) != len(self.inputs):
            raise ValueError("one mask for every cube, null for a cube without")
        if len(set(self.inputs)) != len(self.inputs):
            raise ValueError("a cube was named twice")
        return self


class OrganiseRequest(BaseModel):
    """A pile of cubes or streams to its groups, by place, sensor and content."""

    model_config = ConfigDict(extra="forbid")

    inputs: list[Id] = Field(min_length=1, max_length=4 * MOST_TOGETHER)


class IdentifyRequest(BaseModel):
    """A cube or stream to its materials: the expert rules' names, or mixtures of up to three materials a pixel.

    ``probability`` adds how likely each name holds without the noise.
    """

    model_config = ConfigDict(extra="forbid")

    input: str = Name
    knowledge: str = Release
    mixtures: bool = False
    probability: bool = False
    pixel: tuple[Row, Row] | None = Field(None, description="row and column of a pixel to tell of, with mixtures")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.knowledge == "none":
            raise ValueError("nothing can be identified without knowledge")
        if self.mixtures and self.probability:
            raise ValueError("mixtures have probabilities of their own")
        if self.pixel is not None and not self.mixtures:
            raise ValueError("a single pixel is told of with mixtures")
        return self


class EvaluateRequest(BaseModel):
    """One cube against another; labels and features too where there are wavelengths, unless knowledge is 'none'."""

    model_config = ConfigDict(extra="forbid")

    reference: str = Name
    test: str = Name
    knowledge: str = Release
