.DEFAULT_GOAL := help
.PHONY: help up down reset status test torture lint fmt sqlx relevance eval-answers fuzz-search bench-queue bench-search bench-chat

LOCAL := python3 deploy/local/local.py

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Fetch, build, start and fill everything on this machine; repeat it as often as you like
	@$(LOCAL) up

down: ## Stop what `make up` started
	@$(LOCAL) down

reset: ## Stop and delete the data; keep what was fetched
	@$(LOCAL) reset

status: ## Show what runs, and where
	@$(LOCAL) status

test: ## Run all tests, on servers of their own
	@$(LOCAL) test -- deploy/local/test.sh

lint: ## Run every static check (SQLX_CHECK=1: the recorded queries too)
	@deploy/local/lint.sh

fmt: ## Format the code
	@cargo fmt --all

sqlx: ## Record the checked queries in .sqlx, after a change of SQL
	@$(LOCAL) test -- deploy/local/sqlx.sh

relevance: ## Measure search quality on the collections in DATA=folder
	@test -n "$(DATA)" || { echo 'Say where the collections are: make relevance DATA=folder' >&2; exit 2; }
	@$(LOCAL) test -- deploy/local/built.sh relevance "$(DATA)"

eval-answers: ## Measure the assistant's answers on the collections in DATA=folder (OFF_TOPIC=file with questions that none answers)
	@test -n "$(DATA)" || { echo 'Say where the collections are: make eval-answers DATA=folder' >&2; exit 2; }
	@$(LOCAL) test -- deploy/local/built.sh eval_answers "$(DATA)" $(if $(OFF_TOPIC),--off-topic "$(OFF_TOPIC)")

fuzz-search: ## Search for any text, with queries of all kinds: SECONDS=60, SEED=, DATA=folder for more articles and questions
	@$(LOCAL) test -- deploy/local/built.sh fuzz_search $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(DATA),"$(DATA)")

torture: ## Queue and scheduler under faults: DURATION=seconds, or until JOBS= and FAULTS=; also SEED=, RATE=, REPORT=file
	@$(LOCAL) test -- deploy/local/built.sh torture $(if $(DURATION),--duration $(DURATION)) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(RATE),--rate $(RATE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(REPORT),--report $(REPORT))

# What bench-queue measures; BENCH adds any option of the program itself (tests/src/bin/bench_queue).
PEERS ?= bullmq,bullmq-official,arq,awa
BACKLOGS ?= $(if $(QUICK),1000$(comma)20000,1000$(comma)100000$(comma)1000000)
WORKERS ?= $(if $(QUICK),1$(comma)2,1$(comma)2$(comma)4)
BENCH ?=
comma := ,

bench-queue: ## Measure the queue beside others, in tables (QUICK=1, BACKLOGS=, WORKERS=, PEERS=, BENCH=)
	@PEERS="$(PEERS)" $(LOCAL) test --durable -- tests/bench/queue/run.sh --backlogs "$(BACKLOGS)" --workers "$(WORKERS)" \
		$(if $(QUICK),--runs 1 --window 20000 --seconds 4) $(BENCH)

bench-search: PEERS = lancedb,chromadb
bench-search: ## Measure search beside its limit, on help centers made of DATA=folder (SIZES=, BENCH='--export FOLDER' and PEERS=)
	@test -n "$(DATA)" || { echo 'Say where the help centers are: make bench-search DATA=folder' >&2; exit 2; }
	@PEERS="$(PEERS)" $(LOCAL) test --durable -- tests/bench/search/run.sh "$(DATA)" $(if $(SIZES),--sizes "$(SIZES)") $(BENCH)

bench-chat: ## Measure how soon the assistant answers, and how many sockets it holds, on a collection in DATA=folder (BENCH=)
	@test -n "$(DATA)" || { echo 'Say where the collections are: make bench-chat DATA=folder' >&2; exit 2; }
	@$(LOCAL) test --durable -- tests/bench/chat/run.sh "$(DATA)" $(BENCH)
