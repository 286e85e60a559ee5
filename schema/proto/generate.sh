#!/bin/sh
# Makes the Python modules of the .proto files here. Needs grpcio-tools; the generated code asks for a protobuf
# runtime at least as new as the compiler that made it.
# The files are registered as flameduck/*.proto, so that they live beside any other profile.proto in a process.
set -eu
cd "$(dirname "$0")"
made=$(mktemp -d)
for file in *.proto; do
	python -m grpc_tools.protoc --proto_path=flameduck=. --python_out="$made" --pyi_out="$made" "flameduck/$file"
done
# They import each other as neighbours, whatever the package is called.
sed -i 's/^from flameduck import/from . import/' "$made"/flameduck/*
mv "$made"/flameduck/* .
rm -r "$made"
