"""API v2, one function for each operation: typed arguments to a prepared call. No I/O.

The functions carry the names of the operations in the OpenAPI document. Both clients offer them as methods.
"""

from pulumi_visgate.runpod._call import Call, items, nothing, one
from pulumi_visgate.runpod.models.billing import (
    AccountBilling,
    BillingFilter,
    ClusterBilling,
    ClusterBillingFilter,
    EndpointBilling,
    NetworkVolumeBilling,
    NetworkVolumeBillingFilter,
    PodBilling,
    PodBillingFilter,
    ServerlessBilling,
    ServerlessBillingFilter,
)
from pulumi_visgate.runpod.models.catalog import (
    CpuFilter,
    CpuType,
    DataCenter,
    DataCenterDetail,
    DataCenterFilter,
    GpuFilter,
    GpuType,
    PublicTemplateFilter,
)
from pulumi_visgate.runpod.models.endpoint import (
    CreateEndpoint,
    Endpoint,
    EndpointReleaseList,
    EndpointWorkerList,
    UpdateEndpoint,
)
from pulumi_visgate.runpod.models.registry import CreateDelegation, CreateRegistry, EcrDelegation, Registry
from pulumi_visgate.runpod.models.template import CreateTemplate, Template, UpdateTemplate
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume, NetworkVolume, UpdateNetworkVolume

_SERVERLESS = "/v2/serverless"
_ENDPOINT = f"{_SERVERLESS}/{{id}}"
_TEMPLATES = "/v2/templates"
_TEMPLATE = f"{_TEMPLATES}/{{id}}"
_VOLUMES = "/v2/network-volumes"
_VOLUME = f"{_VOLUMES}/{{id}}"
_REGISTRIES = "/v2/registries"
_REGISTRY = f"{_REGISTRIES}/{{id}}"
_DELEGATIONS = f"{_REGISTRIES}/delegations"
_CATALOG = "/v2/catalog"
_BILLING = "/v2/billing"


def list_endpoints() -> Call[list[Endpoint]]:
    """List the account's serverless endpoints (`listEndpoints`)."""
    parse = items("endpoints", Endpoint)
    return Call(operation_id="listEndpoints", method="GET", template=_SERVERLESS, parse=parse)


def create_endpoint(endpoint: CreateEndpoint) -> Call[Endpoint]:
    """Create a serverless endpoint (`createEndpoint`); never repeated once it may have been received."""
    parse = one(Endpoint)
    return Call(
        operation_id="createEndpoint", method="POST", template=_SERVERLESS, parse=parse, body=endpoint, repeatable=False
    )


def get_endpoint(endpoint_id: str) -> Call[Endpoint]:
    """Return one endpoint (`getEndpoint`)."""
    parse = one(Endpoint)
    return Call(operation_id="getEndpoint", method="GET", template=_ENDPOINT, parse=parse, ids={"id": endpoint_id})


def update_endpoint(endpoint_id: str, change: UpdateEndpoint) -> Call[Endpoint]:
    """Change what is set in `change` and return the endpoint (`updateEndpoint`)."""
    ids, parse = {"id": endpoint_id}, one(Endpoint)
    return Call(operation_id="updateEndpoint", method="PATCH", template=_ENDPOINT, parse=parse, ids=ids, body=change)


def delete_endpoint(endpoint_id: str) -> Call[None]:
    """Delete an endpoint (`deleteEndpoint`)."""
    ids = {"id": endpoint_id}
    return Call(operation_id="deleteEndpoint", method="DELETE", template=_ENDPOINT, parse=nothing, ids=ids)


def list_endpoint_workers(endpoint_id: str) -> Call[EndpointWorkerList]:
    """List an endpoint's workers with their states (`listEndpointWorkers`)."""
    ids, parse = {"id": endpoint_id}, one(EndpointWorkerList)
    path = f"{_ENDPOINT}/workers"
    return Call(operation_id="listEndpointWorkers", method="GET", template=path, parse=parse, ids=ids)


def list_endpoint_releases(endpoint_id: str) -> Call[EndpointReleaseList]:
    """List an endpoint's configuration versions and the state of the roll-out (`listEndpointReleases`)."""
    ids, parse = {"id": endpoint_id}, one(EndpointReleaseList)
    path = f"{_ENDPOINT}/releases"
    return Call(operation_id="listEndpointReleases", method="GET", template=path, parse=parse, ids=ids)


def list_templates() -> Call[list[Template]]:
    """List the account's own templates (`listTemplates`)."""
    parse = items("templates", Template)
    return Call(operation_id="listTemplates", method="GET", template=_TEMPLATES, parse=parse)


def create_template(template: CreateTemplate) -> Call[Template]:
    """Create a template (`createTemplate`); never repeated once it may have been received."""
    parse = one(Template)
    return Call(
        operation_id="createTemplate", method="POST", template=_TEMPLATES, parse=parse, body=template, repeatable=False
    )


def get_template(template_id: str) -> Call[Template]:
    """Return one template, own or public (`getTemplate`)."""
    parse = one(Template)
    return Call(operation_id="getTemplate", method="GET", template=_TEMPLATE, parse=parse, ids={"id": template_id})


def update_template(template_id: str, change: UpdateTemplate) -> Call[Template]:
    """Change what is set in `change` (`updateTemplate`); endpoints made from the template stay as they are."""
    ids, parse = {"id": template_id}, one(Template)
    return Call(operation_id="updateTemplate", method="PATCH", template=_TEMPLATE, parse=parse, ids=ids, body=change)


def delete_template(template_id: str) -> Call[None]:
    """Delete a template (`deleteTemplate`); refused with 400 while something uses it."""
    ids = {"id": template_id}
    return Call(operation_id="deleteTemplate", method="DELETE", template=_TEMPLATE, parse=nothing, ids=ids)


def list_network_volumes() -> Call[list[NetworkVolume]]:
    """List the account's network volumes (`listNetworkVolumes`)."""
    parse = items("networkVolumes", NetworkVolume)
    return Call(operation_id="listNetworkVolumes", method="GET", template=_VOLUMES, parse=parse)


def create_network_volume(volume: CreateNetworkVolume) -> Call[NetworkVolume]:
    """Create a network volume (`createNetworkVolume`); never repeated once it may have been received."""
    parse = one(NetworkVolume)
    return Call(
        operation_id="createNetworkVolume", method="POST", template=_VOLUMES, parse=parse, body=volume, repeatable=False
    )


def get_network_volume(volume_id: str) -> Call[NetworkVolume]:
    """Return one network volume (`getNetworkVolume`)."""
    parse = one(NetworkVolume)
    return Call(operation_id="getNetworkVolume", method="GET", template=_VOLUME, parse=parse, ids={"id": volume_id})


def update_network_volume(volume_id: str, change: UpdateNetworkVolume) -> Call[NetworkVolume]:
    """Rename or grow a network volume (`updateNetworkVolume`)."""
    ids, parse = {"id": volume_id}, one(NetworkVolume)
    return Call(operation_id="updateNetworkVolume", method="PATCH", template=_VOLUME, parse=parse, ids=ids, body=change)


def delete_network_volume(volume_id: str) -> Call[None]:
    """Delete a network volume and all data on it (`deleteNetworkVolume`)."""
    ids = {"id": volume_id}
    return Call(operation_id="deleteNetworkVolume", method="DELETE", template=_VOLUME, parse=nothing, ids=ids)


def list_registries() -> Call[list[Registry]]:
    """List the account's registry credentials (`listRegistries`)."""
    parse = items("registries", Registry)
    return Call(operation_id="listRegistries", method="GET", template=_REGISTRIES, parse=parse)


def create_registry(registry: CreateRegistry) -> Call[Registry]:
    """Store a registry credential (`createRegistry`); never repeated once it may have been received."""
    parse = one(Registry)
    return Call(
        operation_id="createRegistry", method="POST", template=_REGISTRIES, parse=parse, body=registry, repeatable=False
    )


def get_registry(registry_id: str) -> Call[Registry]:
    """Return one registry credential, without its secrets (`getRegistry`)."""
    parse = one(Registry)
    return Call(operation_id="getRegistry", method="GET", template=_REGISTRY, parse=parse, ids={"id": registry_id})


def delete_registry(registry_id: str) -> Call[None]:
    """Delete a registry credential (`deleteRegistry`); refused with 400 while something uses it."""
    ids = {"id": registry_id}
    return Call(operation_id="deleteRegistry", method="DELETE", template=_REGISTRY, parse=nothing, ids=ids)


def list_delegations() -> Call[list[EcrDelegation]]:
    """List delegated ECR repositories (`listDelegations`)."""
    parse = items("delegations", EcrDelegation)
    return Call(operation_id="listDelegations", method="GET", template=_DELEGATIONS, parse=parse)


def create_delegation(delegation: CreateDelegation) -> Call[EcrDelegation]:
    """Delegate an ECR repository (`createDelegation`); never repeated once it may have been received."""
    return Call(
        operation_id="createDelegation",
        method="POST",
        template=_DELEGATIONS,
        parse=one(EcrDelegation),
        body=delegation,
        repeatable=False,
    )


def revoke_delegation(delegation_id: str) -> Call[None]:
    """Take a delegation back (`revokeDelegation`)."""
    path, ids = f"{_DELEGATIONS}/{{id}}", {"id": delegation_id}
    return Call(operation_id="revokeDelegation", method="DELETE", template=path, parse=nothing, ids=ids)


def list_gpu_types(query: GpuFilter | None = None) -> Call[list[GpuType]]:
    """List GPU types with prices, and stock when asked for (`listGpuTypes`)."""
    parse = items("gpus", GpuType)
    return Call(operation_id="listGpuTypes", method="GET", template=f"{_CATALOG}/gpus", parse=parse, query=query)


def get_gpu_type(gpu_type_id: str, query: GpuFilter | None = None) -> Call[GpuType]:
    """Return one GPU type (`getGpuType`)."""
    path, ids, parse = f"{_CATALOG}/gpus/{{id}}", {"id": gpu_type_id}, one(GpuType)
    return Call(operation_id="getGpuType", method="GET", template=path, parse=parse, ids=ids, query=query)


def list_cpu_types(query: CpuFilter | None = None) -> Call[list[CpuType]]:
    """List CPU flavours with prices, and stock when asked for (`listCpuTypes`)."""
    parse = items("cpus", CpuType)
    return Call(operation_id="listCpuTypes", method="GET", template=f"{_CATALOG}/cpus", parse=parse, query=query)


def get_cpu_type(cpu_type_id: str, query: CpuFilter | None = None) -> Call[CpuType]:
    """Return one CPU flavour (`getCpuType`)."""
    path, ids, parse = f"{_CATALOG}/cpus/{{id}}", {"id": cpu_type_id}, one(CpuType)
    return Call(operation_id="getCpuType", method="GET", template=path, parse=parse, ids=ids, query=query)


def list_data_centers(query: DataCenterFilter | None = None) -> Call[list[DataCenter]]:
    """List data centers, with stock when asked for (`listDataCenters`)."""
    path, parse = f"{_CATALOG}/datacenters", items("dataCenters", DataCenter)
    return Call(operation_id="listDataCenters", method="GET", template=path, parse=parse, query=query)


def get_data_center(data_center_id: str, query: DataCenterDetail | None = None) -> Call[DataCenter]:
    """Return one data center (`getDataCenter`)."""
    path, ids, parse = f"{_CATALOG}/datacenters/{{id}}", {"id": data_center_id}, one(DataCenter)
    return Call(operation_id="getDataCenter", method="GET", template=path, parse=parse, ids=ids, query=query)


def list_public_templates(query: PublicTemplateFilter | None = None) -> Call[list[Template]]:
    """List at most 100 public templates (`listPublicTemplates`)."""
    path, parse = f"{_CATALOG}/templates", items("templates", Template)
    return Call(operation_id="listPublicTemplates", method="GET", template=path, parse=parse, query=query)


def list_billing(query: BillingFilter | None = None) -> Call[AccountBilling]:
    """Return what the account cost (`listBilling`)."""
    parse = one(AccountBilling)
    return Call(operation_id="listBilling", method="GET", template=_BILLING, parse=parse, query=query)


def list_pod_billing(query: PodBillingFilter | None = None) -> Call[PodBilling]:
    """Return what pods cost (`listPodBilling`)."""
    parse = one(PodBilling)
    return Call(operation_id="listPodBilling", method="GET", template=f"{_BILLING}/pods", parse=parse, query=query)


def list_serverless_billing(query: ServerlessBillingFilter | None = None) -> Call[ServerlessBilling]:
    """Return what serverless endpoints cost (`listServerlessBilling`)."""
    path, parse = f"{_BILLING}/serverless", one(ServerlessBilling)
    return Call(operation_id="listServerlessBilling", method="GET", template=path, parse=parse, query=query)


def list_endpoint_billing(query: BillingFilter | None = None) -> Call[EndpointBilling]:
    """Return what Runpod's public endpoints cost (`listEndpointBilling`)."""
    path, parse = f"{_BILLING}/endpoints", one(EndpointBilling)
    return Call(operation_id="listEndpointBilling", method="GET", template=path, parse=parse, query=query)


def list_network_volume_billing(query: NetworkVolumeBillingFilter | None = None) -> Call[NetworkVolumeBilling]:
    """Return what network volumes cost (`listNetworkVolumeBilling`)."""
    path, parse = f"{_BILLING}/network-volumes", one(NetworkVolumeBilling)
    return Call(operation_id="listNetworkVolumeBilling", method="GET", template=path, parse=parse, query=query)


def list_cluster_billing(query: ClusterBillingFilter | None = None) -> Call[ClusterBilling]:
    """Return what clusters cost (`listClusterBilling`)."""
    path, parse = f"{_BILLING}/clusters", one(ClusterBilling)
    return Call(operation_id="listClusterBilling", method="GET", template=path, parse=parse, query=query)
