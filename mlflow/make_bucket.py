"""Make a bucket where it is missing: python make_bucket.py NAME. Address and keys are the environment's."""

from __future__ import annotations

import sys

import boto3

if __name__ == "__main__":
    storage, name = boto3.client("s3"), sys.argv[1]
    if name not in [bucket["Name"] for bucket in storage.list_buckets()["Buckets"]]:
        storage.create_bucket(Bucket=name)
