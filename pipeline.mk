# What runs in a project: here, and in the folders that `ricenet init` makes, whose Makefile includes this file too.
# The target `setup` and a path that leads to dvc and ricenet are the Makefile's.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true
PORT ?= 5000

.PHONY: help repro ui server

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

repro: setup ## Run the protocol; on the demo cohort, promote the best set and vote
	dvc repro
	ricenet promote best --demo-only --if-none
	ricenet store share
	dvc repro
	ricenet store times

ui: setup ## Compare runs in the MLflow UI on 127.0.0.1 (PORT=... for another than 5000)
	ricenet ui --port $(PORT)

server: setup ## Run an MLflow server for several people on 127.0.0.1 (PORT=..., docs/server.md)
	ricenet tracking start --port $(PORT)
