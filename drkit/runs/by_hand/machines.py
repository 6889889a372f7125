"""What a person would type to rent a machine, to see it and to give it back, by provider."""

from __future__ import annotations

import shlex

from drkit.config.places import (
    Candidate,
    CommandProvider,
    KubernetesProvider,
    LambdaProvider,
    LocalProvider,
    ProviderConfig,
    RunpodProvider,
    Service,
    SshProvider,
    Target,
    VastProvider,
)
from drkit.runs.book.plan import Plan
from drkit.runs.by_hand.words import secret, secret_file

_LAMBDA = '"$LAMBDA_API"'
"""The address of the provider's API, as its documentation gives it."""


def create_lines(target: Target, service: Service, plan: Plan) -> list[str]:
    """One way for each candidate, in their order; the first that has a machine to give is taken."""
    lines = []
    for candidate in target.candidates:
        price = f"at most ${candidate.max_usd_per_hour:.2f} an hour"
        where = f" in {candidate.region}" if candidate.region else ""
        lines += [
            f"# {candidate.gpu}{where}, {price}:",
            _create(target.provider, candidate, service),
        ]
    return lines


def list_lines(provider: ProviderConfig) -> list[str]:
    match provider:
        case KubernetesProvider():
            return [f"{_kubectl(provider)} get nodes,pods"]
        case RunpodProvider():
            return ["runpodctl get pod"]
        case VastProvider():
            return ["vastai show instances"]
        case LambdaProvider():
            return [f"{_lambda(provider)} {_LAMBDA}/instance-types"]
        case SshProvider():
            return [f"{_ssh(provider)} nvidia-smi"]
        case LocalProvider():
            return [f"ls {shlex.quote(provider.path)}"]
        case CommandProvider():
            return [f"{shlex.join(provider.argv)} find"]


def destroy_lines(provider: ProviderConfig) -> list[str]:
    match provider:
        case KubernetesProvider():
            return [f"{_kubectl(provider)} delete pod -l drkit-run=<RUN>"]
        case RunpodProvider():
            return ["runpodctl remove pod <INSTANCE>"]
        case VastProvider():
            return ["vastai destroy instance <INSTANCE>"]
        case LambdaProvider():
            body = '{"instance_ids":["<INSTANCE>"]}'
            return [f"{_lambda(provider)} {_LAMBDA}/instance-operations/terminate -d '{body}'"]
        case SshProvider():
            return [f"{_ssh(provider)} docker rm -f drkit"]
        case LocalProvider():
            return [f'kill "$(pgrep -f {shlex.quote(provider.path)}/<INSTANCE>)"']
        case CommandProvider():
            return [f"{shlex.join(provider.argv)} destroy <INSTANCE>"]


def _create(provider: ProviderConfig, candidate: Candidate, service: Service) -> str:
    gpu, image = shlex.quote(candidate.gpu), service.image
    match provider:
        case KubernetesProvider():
            node = f'"nodeSelector":{{"gpu.nvidia.com/class":"{candidate.gpu}"}}'
            return (
                f"{_kubectl(provider)} run drkit --image={image} --port={service.port} "
                f"--overrides='{{\"spec\":{{{node}}}}}'"
            )
        case RunpodProvider():
            return (
                f"runpodctl create pod --gpuType {gpu} --imageName {image} "
                f"--ports {service.port}/http --cost {candidate.max_usd_per_hour:g}"
            )
        case VastProvider():
            wanted = f"gpu_name={candidate.gpu.replace(' ', '_')}"
            price = f"dph<={candidate.max_usd_per_hour:g}"
            return (
                f"vastai search offers '{wanted} {price}' -o dph && "
                f"vastai create instance <OFFER> --image {image}"
            )
        case LambdaProvider():
            body = (
                f'{{"region_name":"{candidate.region or "<REGION>"}",'
                f'"instance_type_name":"{candidate.gpu}",'
                f'"ssh_key_names":["{provider.ssh_key_name}"]}}'
            )
            return f"{_lambda(provider)} {_LAMBDA}/instance-operations/launch -d '{body}'"
        case SshProvider():
            return f"{_ssh(provider)} docker run -d --gpus all -p {service.port}:8000 {image}"
        case LocalProvider():
            return shlex.join(provider.argv)
        case CommandProvider():
            return f"{shlex.join(provider.argv)} create {gpu}"


def _kubectl(provider: KubernetesProvider) -> str:
    return f"kubectl --kubeconfig {secret_file(provider.kubeconfig)} -n {provider.namespace}"


def _lambda(provider: LambdaProvider) -> str:
    return f'curl -fsS -u "{secret(provider.api_key)}:"'


def _ssh(provider: SshProvider) -> str:
    return f"ssh -i {secret_file(provider.identity)} {shlex.quote(provider.host)}"
