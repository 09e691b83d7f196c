#!/usr/bin/env python3
"""Google's stock client for long-running operations, against a running Drydock.

    pip install -r tests/clients/requirements.txt
    drydock demo --speed 1000        # or any Drydock with a provider to practise on
    python tests/clients/long_running.py 127.0.0.1:50051 [providers/sim-zstack/clusters/{id}]

`scripts/test clients` does all of this. Without a target it takes one of the demo's that nothing runs on. Starts an upgrade, follows it with `google.api_core.operation.Operation` to its end, and lists, waits for and cancels
operations. Ends with code 0 when all of it went as the contract says.
"""

import sys

import grpc
from google.api_core import exceptions, operation, operations_v1
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main(address, target=None):
    channel = grpc.insecure_channel(address)
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

    def message(name):
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))

    job_type = message("drydock.v1.Job")
    request_type = message("drydock.v1.UpgradeClusterRequest")
    answer_type = message("drydock.v1.UpgradeClusterResponse")
    list_type, listed_type = message("drydock.v1.ListTargetsRequest"), message("drydock.v1.ListTargetsResponse")
    list_targets = channel.unary_unary(
        "/drydock.v1.ProviderService/ListTargets",
        request_serializer=list_type.SerializeToString,
        response_deserializer=listed_type.FromString,
    )
    if target is None:
        listed = list_targets(list_type(parent="providers/sim-zstack")).targets
        target = next(found.name for found in reversed(listed) if not found.HasField("under_way"))
    upgrade = channel.unary_unary(
        "/drydock.v1.UpgradeService/UpgradeCluster",
        request_serializer=request_type.SerializeToString,
        response_deserializer=answer_type.FromString,
    )
    started = upgrade(request_type(target=target)).job
    client = operations_v1.OperationsClient(channel)

    first = client.get_operation(started.name)
    assert first.name == started.name and not first.done, first
    future = operation.from_gapic(first, client, job_type, metadata_type=job_type)
    ended = future.result(timeout=600)
    assert ended.name == started.name, ended
    state = job_type.DESCRIPTOR.fields_by_name["status"].message_type.fields_by_name["state"].enum_type
    print("ended:", ended.name, state.values_by_number[ended.status.state].name)
    assert future.metadata.target == target

    done = [found.name for found in client.list_operations("jobs", "done=true")]
    assert started.name in done, done
    wait = channel.unary_unary(
        "/google.longrunning.Operations/WaitOperation",
        request_serializer=operations_pb2.WaitOperationRequest.SerializeToString,
        response_deserializer=operations_pb2.Operation.FromString,
    )
    assert wait(operations_pb2.WaitOperationRequest(name=started.name)).done
    for call, refusal in [
        (client.cancel_operation, exceptions.FailedPrecondition),
        (client.delete_operation, exceptions.MethodNotImplemented),
    ]:
        try:
            call(started.name)
        except refusal as error:
            print("refused:", error.message)
        else:
            raise AssertionError(f"{call} was not refused")


if __name__ == "__main__":
    main(*sys.argv[1:])
