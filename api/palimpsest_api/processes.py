"""What may be asked of the processes: the same choices as on the command line; inputs are ids, never paths."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from palimpsest.codec.contract import EncodeSettings, asked_to_keep

Bound = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bounds = Annotated[list[Bound], Field(min_length=1, max_length=65536)]
Name = Field(pattern=r"^(cube|artifact)-[0-9a-f]{16}$")
# 'active', 'packaged', 'none', the number of a published release, or (the beginning of) its hash; never a path.
Release = Field("active", pattern=r"^(active|packaged|none|[0-9]{1,7}|[0-9a-f]{8,64})$")


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


class RestoreRequest(BaseModel):
    """A cube or stream to a restored cube; ``full`` stores every exact contribution, so that a click is answered.

    ``denoise`` takes the noise off measured voxels too.
    """

    model_config = ConfigDict(extra="forbid")

    input: str = Name
    knowledge: str = Release
    full: bool = True
    denoise: bool = False


class IdentifyRequest(BaseModel):
    """A cube or stream to its materials: the expert rules' names, or mixtures of up to three materials a pixel.

    ``probability`` adds how likely each name holds without the noise.
    """

    model_config = ConfigDict(extra="forbid")

    input: str = Name
    knowledge: str = Release
    mixtures: bool = False
    probability: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.knowledge == "none":
            raise ValueError("nothing can be identified without knowledge")
        if self.mixtures and self.probability:
            raise ValueError("mixtures have probabilities of their own")
        return self


class EvaluateRequest(BaseModel):
    """One cube against another."""

    model_config = ConfigDict(extra="forbid")

    reference: str = Name
    test: str = Name
