# Labels for a folder of music, in parallel, restartable, and again when there is more music:
#
#     make -f pipelines/prepare.mk AUDIO=$HOME/Music OUT=data -j4
#     make -f pipelines/prepare.mk AUDIO=$HOME/Music OUT=data -j4 TEACHERS='chroma encodec' MODEL=encodec_24khz-d7cc33bc.th
#
# Then: mert-train --recipe ... --manifest data/train.tsv --labels data/train.km --save model
#
#     OUT/train.tsv valid.tsv files.tsv   what there is, what is held out, what is known of each file   mert-manifest
#     OUT/shards/train.00000.tsv ...      the files in parts                                            mert-manifest
#     OUT/pcm/train.00000.mts ...         samples of a part                                             mert-decode
#     OUT/features/NAME/train.00000.mts   what teachers look at                        mert-mel, mert-cqt, mert-encode
#     OUT/TEACHER.safetensors             an alphabet                                          mert-kmeans, mert-rvq
#     OUT/codes/TEACHER/train.00000.mts   a part's codes                                       mert-kmeans, mert-rvq
#     OUT/train.km train.rvq_0 ...        labels: a line for each row of train.tsv                      mert-tensor
#
# TEACHERS, and the label files that they make:
#
#     kmeans   km          k-means on FEATURES, log-mel without it
#     mfcc     mfcc_km     on MFCC: HuBERT's first iteration
#     hubert   hubert_km   on layer LAYER of MODEL: its second
#     chroma   chroma_km   on chroma: harmony alone
#     rvq      rvq_%d      residual codebooks on FEATURES
#     melrvq   melrvq_%d   Mel-RVQ, as MuQ has it
#     random   random_%d   random projections, as BEST-RQ has them
#     encodec  encodec_%d  the codes of the EnCodec checkpoint MODEL
#
# Each run looks for new files. They go into parts of their own, and only these are made; a part of which a file changed
# or went away is made anew. An alphabet is trained on what there is at that time, and then kept, so that labels that
# exist keep their meaning: `make ... retrain` trains it anew on all that there is by now, and makes all its labels
# again. A setting that changes makes again what it decides. Labels depend on the files and on the alphabet, and an
# alphabet on the files that it was trained on: not on -j, SHARDS, HOURS or THREADS, nor on what came when. A file
# appears under its name when it is whole, so an interrupted run goes on where it stopped.
#
# pcm/ is what mert-train reads (--pcm, --valid-pcm). pcm/ and features/ can be deleted when the labels are there, and
# `make ... pcm` makes the first again; codes/ is what the labels of more files are put together with. One run at a time
# in one OUT, whose name has no blanks.

AUDIO    ?= $(error AUDIO=FOLDER: where the music is)
OUT      ?= $(error OUT=FOLDER: where everything goes)
TEACHER  ?= kmeans
TEACHERS ?= $(TEACHER)
MODEL    ?= $(error MODEL=FILE or FOLDER: encodec needs an EnCodec checkpoint, hubert a MERT or HuBERT model)
ENCODEC  ?= $(MODEL)#       where both are wanted
HUBERT   ?= $(MODEL)
LAYER    ?= 6#              hubert: its hidden state
FEATURES ?= mert-mel --bins 229 --log
K         ?=#               classes of each codebook: 500; melrvq 1024; random 8192. K.mfcc=100: of this teacher
CODEBOOKS ?=#               of rvq, melrvq, encodec: 8; random 1. CODEBOOKS.rvq=4: of this teacher
LLOYD    ?= 0#              k-means: full iterations over everything at the end, part by part
SEED     ?= 1
RATE     ?= 24000#          samples a second
VALID    ?= 5#              percent held out
SHARDS   ?= 4#              parts that new files are dealt into
HOURS    ?= 8#              but parts of about so many hours at most
THREADS  ?= 1#              of each part's programs; -j parts are made at a time
MAX_FAILED ?= 0#            items that may fail, or P%, in each step
EXT      ?=#                endings of files to take; empty: those that mert-manifest knows
BIN      ?=#                folder of the programs with a slash at its end; empty: PATH

# ---- the teachers: what each looks at, how it is trained and asked, what its labels are called ----

teachers = kmeans mfcc chroma hubert rvq melrvq random encodec
unknown := $(filter-out $(teachers),$(TEACHERS))
$(if $(unknown),$(error TEACHERS: $(unknown): there are $(teachers)))

looks.kmeans = features
looks.mfcc   = mfcc
looks.chroma = chroma
looks.hubert = hubert
looks.rvq    = features
looks.melrvq = mel
looks.random = mel

FEATURES.features ?= $(FEATURES)
FEATURES.mfcc     ?= mert-mel --mfcc
FEATURES.chroma   ?= mert-cqt --chroma 24
FEATURES.hubert   ?= mert-encode -m $(call quoted,$(HUBERT)) --layers $(LAYER) --dtype f16
FEATURES.mel      ?= mert-mel --bins 128 --log --hop 240

family.kmeans = kmeans mfcc chroma hubert
family = $(if $(filter $(1),$(family.kmeans)),kmeans,rvq)
ending = $(if $(filter kmeans,$(1)),km,$(1)$(if $(filter kmeans,$(call family,$(1))),_km,_%d))

K.melrvq ?= $(or $(K),1024)
K.random ?= $(or $(K),8192)
CODEBOOKS.random ?= $(or $(CODEBOOKS),1)
classes   = $(or $(K.$(1)),$(K),500)
codebooks = $(or $(CODEBOOKS.$(1)),$(CODEBOOKS),8)
TRAIN.kmeans ?=#            more options of a teacher's training: TRAIN.mfcc='--lloyd 20'

train.kmeans  = mert-kmeans train -k $(call classes,$(1)) --seed $(SEED) $(TRAIN.$(1))
train.rvq     = mert-rvq train --method $(1) --classes $(call classes,$(1)) --codebooks $(call codebooks,$(1)) \
                    --seed $(SEED) $(TRAIN.$(1))
encode.kmeans = mert-kmeans assign
encode.rvq    = mert-rvq encode $(if $(filter encodec,$(1)),--codebooks $(call codebooks,$(1)))
codebook      = $(if $(filter encodec,$(1)),$(ENCODEC),$(OUT)/$(1).safetensors)
source        = $(OUT)/$(if $(filter encodec,$(1)),pcm,features/$(looks.$(1)))

# ---- what the two halves of this file share ----

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

quoted = '$(subst ','\'',$(1))'
there = $(if $(shell test -e $(call quoted,$(1)) && echo yes),,$(error MODEL: $(1): no such file or folder))
$(if $(filter encodec,$(TEACHERS)),$(call there,$(ENCODEC)))
$(if $(filter hubert,$(TEACHERS)),$(call there,$(HUBERT)))
FLAGS := -q --max-failed $(strip $(MAX_FAILED))
ONE   := $(FLAGS) --threads $(strip $(THREADS))
this  := $(firstword $(MAKEFILE_LIST))
# A model file or folder, by the names, sizes and times in it.
looked_at = $(shell find -L $(call quoted,$(1)) -type f -printf '%P %s %T@,' 2>&1)

settings.pcm      = $(RATE)
settings.features = $(FEATURES.$(1)) $(if $(filter hubert,$(1)),$(call looked_at,$(HUBERT)))
settings.encodec  = $(call codebooks,encodec) $(call looked_at,$(ENCODEC))
settings.trained  = $(RATE) $(call train.$(call family,$(1)),$(1)) $(call settings.features,$(looks.$(1))) \
                        $(if $(filter kmeans,$(call family,$(1))),lloyd=$(LLOYD))
settings = $(strip $(if $(filter features-%,$(1)),$(call settings.features,$(1:features-%=%)),\
               $(if $(filter pcm encodec,$(1)),$(settings.$(1)),$(call settings.trained,$(1)))))

needed := $(sort $(foreach t,$(filter-out encodec,$(TEACHERS)),$(looks.$(t))))

ifndef SCANNED
# ---- first half: what is there, and what was asked for ----

all: scan $(patsubst %,$(OUT)/.settings.%,pcm $(needed:%=features-%) $(TEACHERS))
	@$(MAKE) --no-print-directory -f $(this) SCANNED=yes labels

pcm: all
	@$(MAKE) --no-print-directory -f $(this) SCANNED=yes pcm

# Silent where nothing changed. What is left of parts that are no more goes, too.
scan:
	@mkdir -p '$(OUT)'
	@$(BIN)mert-manifest $(FLAGS) --out '$(OUT)' --shards $(SHARDS) --shard-hours $(HOURS) --valid-percent $(VALID) \
	    --seed $(SEED) --rate $(RATE) $(if $(EXT),--ext $(EXT)) $(call quoted,$(AUDIO))
	@for f in '$(OUT)'/pcm/*.mts '$(OUT)'/features/*/*.mts '$(OUT)'/codes/*/*.mts; do \
	    n=$${f##*/}; [ -e "$(OUT)/shards/$${n%.mts}.tsv" ] || rm -f "$$f"; done

# What was asked for, a file for each stage: rewritten only when it differs. An alphabet that was made otherwise goes.
$(OUT)/.settings.%: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(call quoted,$(call settings,$*)) | cmp -s - $@ || { rm -rf $(OUT)/$*.safetensors $(OUT)/lloyd/$*; \
	    printf '%s\n' $(call quoted,$(call settings,$*)) > $@; }

# As if their settings had changed.
retrain:
	rm -f $(patsubst %,$(OUT)/.settings.%,$(filter-out encodec,$(TEACHERS)))
	@$(MAKE) --no-print-directory -f $(this) all

FORCE:
.PHONY: all pcm scan retrain FORCE

else
# ---- second half: the parts are known ----

parts  := $(patsubst $(OUT)/shards/%.tsv,%,$(sort $(wildcard $(OUT)/shards/*.tsv)))
halves := $(sort $(foreach p,$(parts),$(firstword $(subst ., ,$(p)))))
of      = $(filter $(1).%,$(parts))

# With a %d in its name one file stands for the set: they appear together.
labels: $(foreach t,$(TEACHERS),$(foreach h,$(halves),$(OUT)/$(h).$(subst %d,0,$(call ending,$(t)))))
	@:
pcm: $(parts:%=$(OUT)/pcm/%.mts)
	@:
.PHONY: labels pcm

$(sort $(OUT)/pcm $(needed:%=$(OUT)/features/%) $(TEACHERS:%=$(OUT)/codes/%)):
	mkdir -p $@

# As old as what it is made of: made again, it is no news to its features.
$(OUT)/pcm/%.mts: $(OUT)/shards/%.tsv $(OUT)/.settings.pcm | $(OUT)/pcm
	$(BIN)mert-decode $(ONE) --rate $(RATE) --dtype i16 --manifest $< > $@.part
	@touch -r "$$(ls -t $^ | head -n 1)" $@.part && mv $@.part $@

# 1: what is looked at
define make_features
$(OUT)/features/$(1)/%.mts: $(OUT)/pcm/%.mts $(OUT)/.settings.features-$(1) | $(OUT)/features/$(1)
	$(BIN)$(FEATURES.$(1)) $(ONE) $$< > $$@.part
	@mv $$@.part $$@
endef
$(foreach f,$(needed),$(eval $(call make_features,$(f))))

# 1: teacher. An alphabet that is there needs nothing.
define make_codebook
$(call codebook,$(1)): $(if $(wildcard $(call codebook,$(1))),,$(if $(filter-out 0,$(call iterations,$(1))),\
        $(OUT)/lloyd/$(1)/$(LLOYD).safetensors,$(patsubst %,$(call source,$(1))/%.mts,$(call of,train))))
	$(if $(filter-out 0,$(call iterations,$(1))),\
	    @mv $(OUT)/lloyd/$(1)/$(LLOYD).safetensors $$@ && rm -rf $(OUT)/lloyd/$(1),\
	    $(BIN)$(call train.$(call family,$(1)),$(1)) $(FLAGS) -o $$@ $(call source,$(1))/train.*.mts)
endef
iterations = $(if $(filter kmeans,$(call family,$(1))),$(LLOYD),0)
$(foreach t,$(filter-out encodec,$(TEACHERS)),$(eval $(call make_codebook,$(t))))

# Full iterations of k-means: exact sums of each part, so that any number of jobs make one alphabet.
# 1: teacher, 2: iteration, 3: the next
define make_iteration
$(OUT)/lloyd/$(1)/$(2)/%.sums: $(call source,$(1))/%.mts $(OUT)/lloyd/$(1)/$(2).safetensors
	@mkdir -p $$(@D)
	$(BIN)mert-kmeans accumulate $(ONE) -m $(OUT)/lloyd/$(1)/$(2).safetensors -o $$@ $$<

$(OUT)/lloyd/$(1)/$(3).safetensors: $(patsubst %,$(OUT)/lloyd/$(1)/$(2)/%.sums,$(call of,train))
	$(BIN)mert-kmeans merge $(FLAGS) -o $$@ $(OUT)/lloyd/$(1)/$(2)/train.*.sums
endef
define make_iterations
$(OUT)/lloyd/$(1)/0.safetensors: $(patsubst %,$(call source,$(1))/%.mts,$(call of,train))
	@mkdir -p $$(@D)
	$(BIN)$(call train.kmeans,$(1)) $(FLAGS) -o $$@ $(call source,$(1))/train.*.mts
$(foreach i,$(shell seq 1 $(LLOYD)),$(eval $(call make_iteration,$(1),$(shell expr $(i) - 1),$(i))))
endef
$(if $(filter-out 0,$(LLOYD)),$(foreach t,$(filter $(family.kmeans),$(TEACHERS)),$(eval $(call make_iterations,$(t)))))

# 1: teacher
trained = $(if $(filter encodec,$(1)),,$(call codebook,$(1)))
define make_codes
$(OUT)/codes/$(1)/%.mts: $(call source,$(1))/%.mts $(call trained,$(1)) $(OUT)/.settings.$(1) | $(OUT)/codes/$(1)
	$(BIN)$(call encode.$(call family,$(1)),$(1)) $(ONE) -m $(call quoted,$(call codebook,$(1))) $$< > $$@.part
	@mv $$@.part $$@
endef
$(foreach t,$(TEACHERS),$(eval $(call make_codes,$(t))))

# 1: teacher, 2: train or valid
define make_labels
$(OUT)/$(2).$(subst %d,0,$(call ending,$(1))): $(OUT)/$(2).tsv $(patsubst %,$(OUT)/codes/$(1)/%.mts,$(call of,$(2)))
	$(BIN)mert-tensor gather $(FLAGS) --manifest $$< $(OUT)/codes/$(1)/$(2).*.mts | \
	    $(BIN)mert-tensor labels $(FLAGS) -o '$(OUT)/$(2).$(call ending,$(1))'
	$(if $(findstring %d,$(call ending,$(1))),@k=$(call codebooks,$(1)); f='$(OUT)/$(2).$(subst %d,,$(call ending,$(1)))'; \
	    while [ -e "$$$$f$$$$k" ]; do rm -f "$$$$f$$$$k" "$$$$f$$$$k.meta"; k=$$$$((k + 1)); done)
endef
$(foreach t,$(TEACHERS),$(foreach h,$(halves),$(eval $(call make_labels,$(t),$(h)))))
endif
