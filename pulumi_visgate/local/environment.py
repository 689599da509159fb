"""What a shell, Pulumi and the tests need to know of a running local cloud."""

import shlex
from collections.abc import Mapping

from pulumi_visgate.hub import HF_ENDPOINT
from pulumi_visgate.local.home import HOME_ENV, Home
from pulumi_visgate.local.state import CloudState

# The emulator takes every key that looks like one as an account of its own: this one is nobody's.
LOCAL_API_KEY = "rpa_LOCALDEVELOPMENTACCOUNT0000"
# The file backend never leaves the private home; the stack's settings in the repository hold the salt of this phrase.
LOCAL_PASSPHRASE = "visgate-local"  # noqa: S105 - public on purpose


def cloud_environment(home: Home, state: CloudState, *, path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a running cloud, by name.

    Args:
        home: Its home.
        state: Its ports and credentials.
        path: The toolchain's PATH.
        environ: Environment of the caller; its own `RUNPOD_API_KEY` is kept.
    """
    return {
        "PATH": path,
        # Without sidecar files: a kill while one is written leaves a state that the engine cannot load.
        "PULUMI_BACKEND_URL": f"{home.state.as_uri()}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": LOCAL_PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "RUNPOD_API_KEY": environ.get("RUNPOD_API_KEY") or LOCAL_API_KEY,
        "RUNPOD_API_URL": state.url("emulator"),
        "RUNPOD_JOBS_URL": f"{state.url('emulator')}/jobs/v2",
        "HF_ENDPOINT": hub_url(state),
        HOME_ENV: str(home.root),
        "VISGATE_S3_ENDPOINT": state.url("s3"),
        "VISGATE_S3_ACCESS_KEY_ID": state.s3_access_key_id,
        "VISGATE_S3_SECRET_ACCESS_KEY": state.s3_secret_access_key.get_secret_value(),
        "VISGATE_CDN_URL": f"{state.url('host')}/cdn",
        "VISGATE_HOST_URL": state.url("host"),
        "VISGATE_HOST_TOKEN": state.host_token.get_secret_value(),
    }


def hub_url(state: CloudState) -> str:
    """Return where the cloud's model hub is."""
    return f"{state.url('host')}/hub"


def hub_upstream(environ: Mapping[str, str], state: CloudState) -> str:
    """Return the hub behind the cloud's own: the one that was set before, which is not the cloud's own again."""
    given = (environ.get("HF_ENDPOINT") or HF_ENDPOINT).rstrip("/")
    return HF_ENDPOINT if given == hub_url(state) else given


def shell_exports(variables: Mapping[str, str]) -> str:
    """Return the variables as lines that any POSIX shell can evaluate."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def without_key(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables as they may lie in a file: without a Runpod key that the caller brought along.

    Args:
        variables: What `cloud_environment` returned.
    """
    return {name: value for name, value in variables.items() if name != "RUNPOD_API_KEY" or value == LOCAL_API_KEY}
