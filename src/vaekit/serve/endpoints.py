"""The table of endpoints."""

from collections.abc import Sequence

from vaekit.checkpoints.save import LAYOUT_NAMES
from vaekit.serve import (
    a1111,
    cards,
    converted_files,
    header_inspection,
    image_tasks,
    interpolation,
    offered_vaes,
    remote_vae,
    status,
    walk,
)
from vaekit.serve.endpoint import Endpoint, Handler, Parameter
from vaekit.serve.image_bytes import MEDIA_TYPES
from vaekit.serve.image_requests import FILE, HTML, JSON, PNG, WEBP
from vaekit.serve.remote_query import FORMATS, OUTPUT_TYPES
from vaekit.serve.remote_tensors import TENSOR
from vaekit.serve.remote_vae import BODIES
from vaekit.serve.tensor_bytes import DTYPES
from vaekit.serve.tensor_bytes import FLOATS as FLOAT_NAMES

TEXT = "text/plain"
INTEGER, NUMBER = {"type": "integer", "minimum": 1}, {"type": "number"}
BOOLEAN = {"type": "string", "enum": ["True", "False"]}
NAMES = {"type": "array", "items": {"type": "string"}}
FLOATS = {"type": "string", "enum": list(FLOAT_NAMES)}
VAE = Parameter("vae", "The name of an offered VAE.", required=True, in_path=True)
ANY_VAE = Parameter("vae", "The name of an offered VAE; the first one by default.")
SHAPE = {"type": "array", "items": INTEGER, "maxItems": 5}
SCALING = (
    Parameter("scaling_factor", "Latents are (raw - shift_factor) * scaling_factor; 1 by default.", NUMBER),
    Parameter("shift_factor", "See scaling_factor; 0 by default.", NUMBER),
    Parameter("do_scaling", "Without a scaling_factor: the normalization that the server knows of its VAE.", BOOLEAN),
)
DECODE = (
    Parameter("shape", "Of the latents, repeated for each axis: (b, z, h, w), (z, h, w) or packed.", SHAPE, True),
    Parameter("dtype", "Of the latents.", FLOATS, True),
    *SCALING,
    Parameter("height", "Rows of the image, for packed latents, or to crop to.", INTEGER),
    Parameter("width", "Columns of the image, for packed latents, or to crop to.", INTEGER),
    Parameter(
        "output_type",
        "pil: an image file, or a tensor in [0, 1] if tensor/binary is accepted. pt: a tensor in [-1, 1].",
        {"type": "string", "enum": [each for each in OUTPUT_TYPES if each != "mp4"], "default": "pil"},
    ),
    Parameter("image_format", "Of image files.", {"type": "string", "enum": list(FORMATS), "default": "jpg"}),
    Parameter("partial_postprocess", "For pt: levels of 8 bits, (b, h, w, c).", BOOLEAN),
)
ENCODE = (
    Parameter("shape", "Of a tensor (b, c, h, w) in [-1, 1] in the body, repeated for each axis.", SHAPE),
    Parameter("dtype", "Of this tensor; levels of 8 bits if it is uint8.", {"type": "string", "enum": list(DTYPES)}),
    *SCALING,
)
COMPARE = (
    Parameter("vae", "The name of an offered VAE; repeated for several.", NAMES),
    Parameter("cards", "Also measure the VAEs on the built-in test cards, which takes longer.", BOOLEAN),
)
CONVERT = (
    Parameter(
        "layout",
        "The names of its tensors, as in `vaekit convert`; diffusers and tiny are ZIP archives.",
        {"type": "string", "enum": list(LAYOUT_NAMES), "default": "native"},
    ),
    Parameter(
        "dtype", "Of the weights; as they are by default.", {"type": "string", "enum": list(converted_files.DTYPES)}
    ),
)
FILE_SIZE = Parameter("size", "Of the whole file in bytes.", {"type": "integer", "minimum": 8}, True)
CARD = Parameter("card", "The name of a test card.", required=True, in_path=True)
IMAGES = (PNG, "image/jpeg", TENSOR)


def remote(
    path: str, handle: Handler, about: str, parameters: Sequence[Parameter], answers: tuple[str, ...]
) -> list[Endpoint]:
    """An endpoint of the remote-VAE protocol, with and without the slash that clients add."""
    vae = (VAE,) if "{vae}" in path else (ANY_VAE,)
    paths = [path] if path == "/" else [path, f"{path}/"]
    return [
        Endpoint("POST", each, handle, about, answers, (*vae, *parameters), BODIES, untyped=True, works=True)
        for each in paths
    ]


DECODES = "Decode latents: raw bytes of a tensor, as diffusers.utils.remote_utils sends them."
ENCODES = "Encode an image file or the raw bytes of a tensor to latents: the mode of the posterior."
ENDPOINTS: tuple[Endpoint, ...] = (
    *remote("/", remote_vae.decode, DECODES, DECODE, IMAGES),
    *remote("/decode", remote_vae.decode, DECODES, DECODE, IMAGES),
    *remote("/encode", remote_vae.encode, ENCODES, ENCODE, (TENSOR,)),
    *remote("/vaes/{vae}/decode", remote_vae.decode, DECODES, DECODE, IMAGES),
    *remote("/vaes/{vae}/encode", remote_vae.encode, ENCODES, ENCODE, (TENSOR,)),
    Endpoint("GET", "/api/vaes", offered_vaes.list_vaes, "List the offered VAEs.", (JSON,)),
    Endpoint("GET", "/api/vaes/{vae}", offered_vaes.inspect, "What is known about a VAE.", (JSON,), (VAE,)),
    Endpoint(
        "POST",
        "/api/vaes/{vae}/reconstruct",
        image_tasks.reconstruct,
        "Encode and decode an image: PSNR, SSIM and color shift with the result, or the result as PNG.",
        (JSON, PNG),
        (VAE,),
        MEDIA_TYPES,
        works=True,
    ),
    Endpoint(
        "POST",
        "/api/vaes/{vae}/interpolate",
        interpolation.interpolate,
        'Interpolate between images: {"images": [base64, ...], "steps": 7, "path": "linear"}.',
        (JSON, PNG, WEBP),
        (VAE,),
        (JSON,),
        works=True,
    ),
    Endpoint(
        "POST",
        "/api/vaes/{vae}/walk",
        walk.walk,
        f"The items at points of the latent space of a VAE of any domain: {walk.EXPECTED}.",
        (JSON,),
        (VAE,),
        (JSON,),
        works=True,
    ),
    Endpoint(
        "GET",
        "/api/vaes/{vae}/directions",
        walk.directions,
        "Directions of exposure, contrast and warmth in a latent space, learned from test images.",
        (JSON,),
        (VAE,),
        works=True,
    ),
    Endpoint(
        "POST",
        "/api/compare",
        image_tasks.compare,
        "Compare VAEs on an image: the report of `vaekit compare` as JSON or HTML.",
        (JSON, HTML),
        COMPARE,
        MEDIA_TYPES,
        works=True,
    ),
    Endpoint(
        "POST",
        "/api/vaes/{vae}/latents",
        image_tasks.latents,
        "Encode an image to the file that `vaekit encode` writes.",
        (FILE,),
        (VAE,),
        MEDIA_TYPES,
        works=True,
    ),
    Endpoint(
        "GET",
        "/api/vaes/{vae}/file",
        converted_files.converted,
        "The VAE as a file: safetensors, or a ZIP archive for a layout of several files.",
        (converted_files.SAFETENSORS, converted_files.ZIP),
        (VAE, *CONVERT),
    ),
    Endpoint(
        "POST",
        "/api/inspect",
        header_inspection.inspect,
        "What the header of a safetensors file tells about the VAE in it: its first 8 bytes and the JSON.",
        (JSON,),
        (FILE_SIZE,),
        (FILE,),
    ),
    Endpoint("GET", "/api/cards", cards.list_cards, "List the built-in test cards.", (JSON,)),
    Endpoint("GET", "/api/cards/{card}", cards.card_image, "A test card.", (PNG,), (CARD,)),
    Endpoint("GET", "/v1/models", offered_vaes.list_models, "The offered VAEs as OpenAI's API lists models.", (JSON,)),
    Endpoint("GET", "/sdapi/v1/sd-vae", a1111.list_vaes, "The offered VAEs as A1111 lists them.", (JSON,)),
    Endpoint(
        "POST",
        "/sdapi/v1/refresh-vae",
        a1111.refresh,
        "Look into the models folders again.",
        (JSON,),
        bodies=(JSON,),
        untyped=True,
    ),
    Endpoint("GET", "/health", status.health, "Whether the process answers; needs no token.", (JSON,)),
    Endpoint("GET", "/ready", status.ready, "Whether requests are accepted; needs no token.", (JSON,)),
    Endpoint("GET", "/metrics", status.metrics, "Metrics for Prometheus.", (TEXT,)),
)
