"""Every version, address and checksum of the tools, in one place. Imports nothing of this package.

The Go pins are the `go.mod` and `go.sum` files beside this package.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Version = tuple[int, int, int]

GO_VERSION = "1.26 or newer"


@dataclass(frozen=True)
class Archive:
    """A release archive: where it is, and the SHA-256 it must have."""

    url: str
    sha256: str


@dataclass(frozen=True)
class GoProgram:
    """A program built from a Go module.

    Args:
        module: Folder below `tools/` that holds `go.mod` and `go.sum`.
        package: Import path of the program; its last part names the file.
        stamp: Linker assignment of the version, `package.variable=value`.
    """

    module: str
    package: str
    stamp: str

    @property
    def filename(self) -> str:
        """Name of the finished file."""
        return self.package.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class ModuleFile:
    """A script taken as it is from a Go module that a program of the tool needs anyway."""

    module: str
    dependency: str
    path: str

    @property
    def filename(self) -> str:
        """Name of the finished file."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Tool:
    """One tool, and the ways to get it.

    Args:
        label: What a message calls it.
        version: The pinned version, with a leading v.
        files: What must be found beside one another; the first is asked for its version.
        remedy: What to install, in words.
        minimum: The oldest version on PATH that is used as it is.
        version_args: Arguments that make the first file print its version; none where it cannot.
        archives: Release archive by platform.
        programs: What the build makes with Go.
        scripts: What the build copies out of Go modules.
    """

    label: str
    version: str
    files: tuple[str, ...]
    remedy: str
    minimum: Version = (0, 0, 0)
    version_args: tuple[str, ...] = ()
    archives: Mapping[str, Archive] = field(default_factory=dict)
    programs: tuple[GoProgram, ...] = ()
    scripts: tuple[ModuleFile, ...] = ()


def _pulumi_archive(platform: str, sha256: str) -> Archive:
    return Archive(f"https://get.pulumi.com/releases/sdk/pulumi-v3.259.0-{platform}.tar.gz", sha256)


def _versitygw_archive(platform: str, sha256: str) -> Archive:
    base = "https://github.com/versity/versitygw/releases/download/v1.8.0"
    return Archive(f"{base}/versitygw_v1.8.0_{platform}.tar.gz", sha256)


# The minimum is 3.254: from there on an import file may carry inputs and outputs, which is how existing
# resources of dynamic providers are adopted. configure (3.139) and read with inputs (3.216) are older.
# The checksums are those that Pulumi's own Homebrew formula states for this version.
PULUMI = Tool(
    label="the Pulumi engine",
    version="v3.259.0",
    minimum=(3, 254, 0),
    files=("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"),
    version_args=("version",),
    remedy="the Pulumi CLI (3.254 or newer)",
    archives={
        "linux-amd64": _pulumi_archive("linux-x64", "94ba357acac23d01474084c4b00098dc0f7bc70ce13f34c777459254a5f718e5"),
        "linux-arm64": _pulumi_archive(
            "linux-arm64", "edc8327463a72160bb36cf82cf5062da9c8a244290a706d9980988e7bf486853"
        ),
        "darwin-amd64": _pulumi_archive(
            "darwin-x64", "eaca4c3b8277bfa3ab061fa3b270d1c66358a0b2e613da8c5587a04b7226c534"
        ),
        "darwin-arm64": _pulumi_archive(
            "darwin-arm64", "57c27f179e527e2cf9f62b841a448af72a020e44b2fb4ee0d9bd85556c00c864"
        ),
    },
    programs=(
        GoProgram(
            "pulumi-engine",
            "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.259.0",
        ),
        # The last version of the SDK module that still holds the Python language host.
        GoProgram(
            "pulumi-language-python",
            "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
            "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.79.0",
        ),
    ),
    scripts=(
        ModuleFile("pulumi-engine", "github.com/pulumi/pulumi/sdk/v3", "python/cmd/pulumi-language-python-exec"),
        ModuleFile("pulumi-engine", "github.com/pulumi/pulumi/sdk/v3", "python/dist/pulumi-resource-pulumi-python"),
    ),
)

# The checksums are those of the release's own checksums.txt.
S3 = Tool(
    label="the S3 server of the local cloud (versitygw)",
    version="v1.8.0",
    minimum=(1, 8, 0),
    files=("versitygw",),
    version_args=("--version",),
    remedy="versitygw (1.8 or newer)",
    archives={
        "linux-amd64": _versitygw_archive(
            "Linux_x86_64", "2ba2c734d10d2c4e651d03182cb4b246656bc735a2f282db7b0b73fba6073467"
        ),
        "linux-arm64": _versitygw_archive(
            "Linux_arm64", "b34051d33f5a9c457f790896acb7bd7d7e15ad8d92efb70616b924f37e401910"
        ),
        "darwin-amd64": _versitygw_archive(
            "Darwin_x86_64", "104bd978e80ef0173554cfd8630ccc5bac24b00da440510b60365a3b6b6ab134"
        ),
        "darwin-arm64": _versitygw_archive(
            "Darwin_arm64", "4953096f65a9c0d62ab184fb6b2ba7c2435229205cf00a56cb62cd4bf6b216ca"
        ),
    },
    programs=(GoProgram("versitygw", "github.com/versity/versitygw/cmd/versitygw", "main.Version=v1.8.0"),),
)

# Official releases of the engine bring this host along, so there is no archive of its own.
YAML = Tool(
    label="the YAML language host",
    version="v1.38.0",
    files=("pulumi-language-yaml",),
    remedy="the Pulumi CLI (3.254 or newer)",
    programs=(
        GoProgram(
            "pulumi-language-yaml",
            "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml",
            "github.com/pulumi/pulumi-yaml/pkg/version.Version=v1.38.0",
        ),
    ),
)

TOOLS: Mapping[str, Tool] = {"pulumi": PULUMI, "s3": S3, "yaml": YAML}
DEFAULT_TOOLS = ("pulumi", "s3")
