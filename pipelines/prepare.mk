# Labels for a folder of music, in parallel and restartable:
#
#     make -f pipelines/prepare.mk AUDIO=~/Music OUT=data -j4
#
# Then: mert-train --recipe ... --manifest data/train.tsv --labels data/train.km --save model
#
#     OUT/train.tsv valid.tsv             what there is, and what is held out               mert-manifest
#     OUT/pcm/train.0-of-4.mts            samples of the first quarter of the rows          mert-decode
#     OUT/features/train.0-of-4.mts       what k-means and own quantisers look at           mert-mel
#     OUT/TEACHER.safetensors             the alphabet (encodec: MODEL is it)               mert-kmeans, mert-rvq
#     OUT/TEACHER/train.0-of-4.mts        codes of that quarter                             mert-kmeans, mert-rvq
#     OUT/train.km  train.rvq_0 ...       labels: one line per row of the manifest          mert-tensor
#
# A file appears under its name when it is whole, so an interrupted run goes on where it stopped. Labels do not depend on -j, SHARDS
# or THREADS. A setting that changes makes again what it decides; `make -f ... scan` looks for new files in AUDIO.
# pcm/ is what mert-train reads (--pcm); features/ and TEACHER/ can be deleted when the labels are there.

AUDIO   ?= $(error AUDIO=FOLDER: where the music is)
OUT     ?= $(error OUT=FOLDER: where everything goes)
TEACHER ?= kmeans#         kmeans, rvq (own quantisers on features), or encodec (MODEL=encodec_24khz-....th)
MODEL   ?= $(error TEACHER=encodec needs MODEL=FILE: an EnCodec checkpoint)
K       ?= 500#            classes (of each codebook)
CODEBOOKS ?= 8#            rvq, encodec
SHARDS  ?= 4#              parts that are made at the same time
THREADS ?= 1#              of each of them
SEED    ?= 1
RATE    ?= 24000#          samples a second
VALID   ?= 5#              percent held out
MAX_FAILED ?= 0#           items that may fail, or P%
EXT     ?=#                endings of files to take; empty: those that mert-manifest knows
FEATURES ?= mert-mel --bins 229 --log
BIN     ?=#                folder of the programs with a slash at its end; empty: PATH

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

FLAGS  := -q --max-failed $(strip $(MAX_FAILED))
ONE    := $(FLAGS) --threads $(strip $(THREADS))
parts  := $(shell i=0; while [ $$i -lt $(SHARDS) ]; do echo $$i-of-$(strip $(SHARDS)); i=$$((i + 1)); done)

# What the teacher is called in label files, and how it is trained and asked.
suffix.kmeans  = km
suffix.rvq     = rvq_%d
suffix.encodec = encodec_%d
source.kmeans  = features
source.rvq     = features
source.encodec = pcm
codebook.kmeans  = $(OUT)/kmeans.safetensors
codebook.rvq     = $(OUT)/rvq.safetensors
codebook.encodec = $(MODEL)
train.kmeans   = mert-kmeans train -k $(K) --seed $(SEED)
train.rvq      = mert-rvq train --classes $(K) --codebooks $(CODEBOOKS) --seed $(SEED)
encode.kmeans  = mert-kmeans assign
encode.rvq     = mert-rvq encode
encode.encodec = mert-rvq encode --codebooks $(CODEBOOKS)

suffix   := $(or $(suffix.$(TEACHER)),$(error TEACHER=$(TEACHER): kmeans, rvq or encodec))
codebook := $(codebook.$(TEACHER))
# With a %d in its name one file stands for the set: they appear together.
labels   := $(OUT)/train.$(subst %d,0,$(suffix)) $(OUT)/valid.$(subst %d,0,$(suffix))
shards    = $(parts:%=$(OUT)/$(1)/$(2).%.mts)

all: $(labels)

# What was asked for, one file for each stage that it decides: rewritten only when it differs.
settings.manifest   = $(VALID) $(SEED) $(RATE) $(EXT)
settings.features   = $(FEATURES)
settings.$(TEACHER) = $(K) $(CODEBOOKS) $(SEED) $(if $(filter encodec,$(TEACHER)),$(MODEL))
$(OUT)/.settings.%: FORCE
	@mkdir -p $(@D)
	@echo '$(settings.$*)' | cmp -s - $@ || echo '$(settings.$*)' > $@

$(OUT)/train.tsv: $(OUT)/.settings.manifest
	$(BIN)mert-manifest $(FLAGS) --out $(OUT) --valid-percent $(VALID) --seed $(SEED) --rate $(RATE) $(if $(EXT),--ext $(EXT)) '$(AUDIO)'
$(OUT)/valid.tsv: $(OUT)/train.tsv ;

scan:
	rm -f $(OUT)/train.tsv
	@$(MAKE) --no-print-directory -f $(firstword $(MAKEFILE_LIST)) $(OUT)/train.tsv

$(OUT)/pcm $(OUT)/features $(OUT)/$(TEACHER):
	mkdir -p $@

define half
$(OUT)/pcm/$(1).%.mts: $(OUT)/$(1).tsv | $(OUT)/pcm
	$(BIN)mert-decode $(ONE) --rate $(RATE) --dtype i16 --manifest $$< --shard $$(subst -of-,/,$$*) > $$@.part
	@mv $$@.part $$@

$(OUT)/$(1).$(subst %d,0,$(suffix)): $(call shards,$(TEACHER),$(1))
	$(BIN)mert-tensor labels $(FLAGS) -o '$(OUT)/$(1).$(suffix)' $$^
endef
$(eval $(call half,train))
$(eval $(call half,valid))

$(OUT)/features/%.mts: $(OUT)/pcm/%.mts $(OUT)/.settings.features | $(OUT)/features
	$(BIN)$(FEATURES) $(ONE) $< > $@.part
	@mv $@.part $@

$(OUT)/kmeans.safetensors $(OUT)/rvq.safetensors: $(call shards,features,train) $(OUT)/.settings.$(TEACHER)
	$(BIN)$(train.$(TEACHER)) $(FLAGS) -o $@ $(filter %.mts,$^)

$(OUT)/$(TEACHER)/%.mts: $(OUT)/$(source.$(TEACHER))/%.mts $(codebook) $(OUT)/.settings.$(TEACHER) | $(OUT)/$(TEACHER)
	$(BIN)$(encode.$(TEACHER)) $(ONE) -m $(codebook) $< > $@.part
	@mv $@.part $@

FORCE:
.PHONY: all scan FORCE
