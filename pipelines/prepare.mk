# Makes labels for a folder of music, in parallel. After an interruption, or when there is more music, give the
# command again:
#
#     make -f pipelines/prepare.mk AUDIO=$HOME/Music OUT=data -j4
#     make -f pipelines/prepare.mk AUDIO=$HOME/Music OUT=data -j4 TEACHERS='chroma encodec' MODEL=encodec_24khz-d7cc33bc.th
#
# Then: mert-train --recipe ... --manifest data/train.tsv --labels data/train.km --save model
#
#     OUT/train.tsv valid.tsv files.tsv   manifests for training and validation, list of all files          mert-manifest
#     OUT/shards/train.00000.tsv ...      the manifests of the shards                                       mert-manifest
#     OUT/pcm/train.00000.mts ...         packed audio of a shard                                           mert-decode
#     OUT/features/NAME/train.00000.mts   features of a shard                          mert-mel, mert-cqt, mert-encode
#     OUT/TEACHER.safetensors             the codebooks of a teacher                           mert-kmeans, mert-rvq
#     OUT/codes/TEACHER/train.00000.mts   codes of a shard                                     mert-kmeans, mert-rvq
#     OUT/train.km train.rvq_0 ...        labels: a line for each row of train.tsv                          mert-tensor
#
# TEACHERS, and the label files that they make:
#
#     kmeans   km          k-means on FEATURES, by default log-mel spectra
#     mfcc     mfcc_km     k-means on MFCC: HuBERT's first iteration
#     hubert   hubert_km   k-means on layer LAYER of MODEL: HuBERT's second iteration
#     chroma   chroma_km   k-means on chroma
#     rvq      rvq_%d      residual codebooks on FEATURES
#     melrvq   melrvq_%d   Mel-RVQ, as in MuQ
#     random   random_%d   random projections, as in BEST-RQ
#     fsq      fsq_%d      finite scalar quantisation with a trained encoder
#     random-fsq random-fsq_%d  finite scalar quantisation of random projections, as in OMAR-RQ
#     encodec  encodec_%d  the codes of the EnCodec checkpoint MODEL
#
# Each run looks for new files. They go into new shards, and only these are processed. If a file of a shard was
# changed or removed, that shard is processed again. A codebook is trained on the files that are there at the time,
# and is then kept, so that existing labels keep their meaning. `make ... retrain` trains it again on all files, and
# makes all its labels again. `make ... fairseq` also writes OUT/fairseq: manifests, labels and dictionaries as fairseq
# reads them. If a setting changes, everything that depends on it is made again. Labels depend on the
# files and on the codebook, and a codebook depends on the files that it was trained on. They do not depend on -j,
# SHARDS, HOURS or THREADS, nor on the order in which files were added. Hidden states and EnCodec's codes of another DEVICE may
# differ by rounding: with another kind of it they are made again (cuda:1 is the kind of cuda:0). A file appears under its name when it is
# complete, so an interrupted run can be continued. A file whose time is in the future is made again, once.
#
# VALID, SEED, EXT and RATE of the first run are stored in OUT/.split and used by later runs that do not give them.
# Another VALID, SEED or EXT would distribute the files differently, and is refused; `make ... VALID=10 anew` does it.
# Another RATE makes everything again.
#
# mert-train reads pcm/ (--pcm, --valid-pcm). pcm/ and features/ can be deleted when the labels are there; `make ...
# pcm` makes pcm/ again. With IN_PLACE=yes it is not made at all, for music that does not fit as samples. codes/ is needed when files are added, to write the labels of all shards.
#
# One run at a time works in OUT: it holds the lock OUT/.lock (pipelines/hold). All settings are checked before the
# first command. These are refused: an unknown setting; in OUT a character that make or sh would interpret; in
# commands (FEATURES, TRAIN.x) what sh would run. AUDIO, MODEL and BIN may have any name without a newline. Nothing in
# a value is expanded.

# ---- the settings that were given, without expansion by make ----

teachers = kmeans mfcc chroma hubert rvq melrvq random fsq random-fsq encodec
paths    = AUDIO MODEL ENCODEC HUBERT BIN
counts   = SEED LLOYD SHARDS THREADS
numbers  = VALID HOURS MAX_FAILED
codes    = K CODEBOOKS RATE $(filter-out %fsq,$(teachers:%=K.%)) $(teachers:%=CODEBOOKS.%)
levels   = $(addprefix LEVELS.,fsq random-fsq)
commands = FEATURES $(addprefix FEATURES.,features mfcc chroma hubert mel) $(addprefix TRAIN.,kmeans $(teachers))
known    = OUT TEACHER TEACHERS LAYER DEVICE EXT SALVAGE IN_PLACE TAR VALIDATES $(paths) $(counts) $(numbers) $(codes) $(levels) $(commands)
internal = HELD SCANNED SHELL MAKEFLAGS -*-command-variables-*-

from   = $(firstword $(origin $(1)))
named := $(foreach v,$(.VARIABLES),$(if $(filter command,$(call from,$(v))),$(v)))
strange := $(filter-out $(known) $(internal),$(named))
$(if $(strange),$(error $(strange): no such setting; there are $(filter-out VALIDATES,$(known))))
given := $(foreach v,$(known),$(if $(filter command environment,$(call from,$(v))),$(v)))
$(foreach v,$(given),$(eval override $(v) := $$(value $(v))))

define newline


endef
blank := $() $()
tab   := $(shell printf '\011')
comma := ,
run_by_sh  := $$ ` ; & | < > ( ) \# \ * ? [ { }
taken_apart := $(run_by_sh) ' " % : = !
# 1: a text, 2: characters. The first of them that is in it, or a newline.
has = $(firstword $(if $(findstring $(newline),$(1)),newline) $(foreach c,$(2),$(findstring $(c),$(1))))
gap = $(if $(findstring $(blank),$(1)),blank,$(if $(findstring $(tab),$(1)),tab))
without = $(if $(2),$(call without,$(subst $(firstword $(2)),,$(1)),$(wordlist 2,99,$(2))),$(1))
rest = $(call without,$($(1)),0 1 2 3 4 5 6 7 8 9)
# 1: a setting, 2: what it has that it must not have, 3: the way on
refuse = $(if $(2),$(error $(1): $(if $(filter newline,$(2)),there is a newline in it,$(2) in '$($(1))')$(3)))
dash = $(if $(filter -%,$(firstword $($(1)))),$(error $(1): '$($(1))' begins like an option: give the whole path))
$(foreach v,$(filter $(paths),$(given)),$(call refuse,$(v),$(call has,$($(v))))$(call dash,$(v)))
$(foreach v,$(filter $(commands),$(given)),$(call refuse,$(v),$(call has,$($(v)),$(run_by_sh)),: a program and its \
    options; nothing else of the shell's))
$(foreach v,$(filter TEACHER TEACHERS EXT,$(given)),$(call refuse,$(v),$(call has,$($(v)),$(taken_apart)),: no name has that))
$(foreach v,$(filter LAYER,$(given)),$(call refuse,$(v),$(or $(call gap,$($(v))),$(call has,$($(v)),$(taken_apart)))))
$(foreach v,$(filter DEVICE,$(given)),$(call refuse,$(v),$(or $(call gap,$($(v))),$(call has,$($(v)),$(filter-out :,$(taken_apart))))))
$(foreach v,$(filter $(counts) $(numbers) $(codes) SALVAGE IN_PLACE TAR VALIDATES,$(given)),$(call refuse,$(v),$(or $(call gap,$($(v))),\
    $(call has,$($(v)),$(filter-out %,$(taken_apart))))))
$(foreach v,$(filter $(counts) $(codes),$(given)),$(if $(call rest,$(v)),$(error $(v): '$($(v))' is no whole number)))
$(foreach v,$(filter $(numbers),$(given)),$(if $(filter-out . \% .\%,$(call rest,$(v))),$(error $(v): '$($(v))' is no number)))
$(foreach v,$(filter $(counts) $(numbers) OUT AUDIO,$(given)),$(if $(strip $($(v))),,$(error $(v): nothing is given)))
over = $(shell awk 'BEGIN {if ($(subst %,,$(1)) > 100) print "over"}')
$(foreach v,$(filter VALID $(if $(findstring %,$(MAX_FAILED)),MAX_FAILED),$(given)),$(if $(call over,$($(v))),$(error $(v): $($(v)) is more than all: at most 100)))
$(foreach v,$(filter $(levels),$(given)),$(if $(subst $(comma),,$(call rest,$(v))),$(error $(v): '$($(v))' is no list like 8$(comma)5$(comma)5)))
$(foreach v,$(filter SALVAGE IN_PLACE TAR VALIDATES,$(given)),$(if $(filter-out yes no,$($(v))),$(error $(v): yes or no)))
override EXT := $(subst $(blank),$(comma),$(strip $(EXT)))
$(if $(filter OUT,$(given)),$(call refuse,OUT,$(or $(call gap,$(OUT)),$(call has,$(OUT),$(taken_apart))),: make and sh would \
    take it apart: name a folder without it)$(call dash,OUT)$(if $(filter ./-%,$(OUT)),$(error OUT: give the whole path))$(if \
    $(filter ~%,$(OUT)),$(error OUT: '$(OUT)': the shell has not put in the home folder: give the whole path))$(eval override \
    OUT := $(patsubst %/,%,$(patsubst %//,%,$(OUT))))$(if $(OUT),,$(error OUT: / is no folder for this: name another)))

quoted = '$(subst ','\'',$(1))'
bin     = $(if $(BIN),$(call quoted,$(BIN)/))

# ---- settings ----

AUDIO    ?= $(error AUDIO=FOLDER: where the music is)
OUT      ?= $(error OUT=FOLDER: where everything goes)
TEACHER  ?= kmeans
TEACHERS ?= $(TEACHER)
MODEL    ?= $(error MODEL=FILE or FOLDER: encodec needs an EnCodec checkpoint, hubert a MERT or HuBERT model)
ENCODEC  ?= $(MODEL)#       where both are wanted
HUBERT   ?= $(MODEL)
LAYER    ?= 6#              hubert: the hidden state of MODEL
FEATURES ?= mert-mel --bins 229 --log# program and options: what kmeans and rvq are trained on
K         ?=#               classes of each codebook: 500; melrvq 1024; random 8192. K.mfcc=100: for this teacher only
CODEBOOKS ?=#               rvq, melrvq, encodec: 8; random, fsq, random-fsq: 1. CODEBOOKS.rvq=4: for this teacher only
LEVELS.fsq ?= 8,5,5,5#      their product is the number of classes
LEVELS.random-fsq ?= 6,6,6,6,6
LLOYD    ?= 0#              k-means: full iterations over all shards at the end
SEED     ?= 1#              of the split into training and validation, and of the codebooks
RATE     ?=#                sample rate; empty: that of MODEL, or 24000
VALID    ?= 5#              percentage for validation
SHARDS   ?= 4#              number of shards for new files
HOURS    ?= 8#              largest length of a shard in hours, about
DEVICE   ?=#                hubert, encodec: what computes hidden states and codes, cuda or cuda:N (--device); empty: the CPU
THREADS  ?= 1#              threads of each program; -j is the number of shards at a time
MAX_FAILED ?= 0#            number or percentage (P%) of items that may fail in each step
SALVAGE  ?= no#             yes: use the part of a damaged file before the fault
IN_PLACE ?= no#             yes: no pcm/: each program decodes what it reads, and mert-train --in-place trains
TAR      ?= no#             yes: the music is in uncompressed tar files, too
VALIDATES ?= no#            yes: stop if there is no file for validation
EXT      ?=#                name endings of files; empty: those of mert-manifest
BIN      ?=#                folder of the programs; empty: PATH

# ---- the teachers: features, training, labelling, names of the labels ----

unknown := $(filter-out $(teachers),$(TEACHERS))
$(if $(unknown),$(error TEACHERS: $(unknown): there are $(teachers)))

features_of.kmeans = features
features_of.mfcc   = mfcc
features_of.chroma = chroma
features_of.hubert = hubert
features_of.rvq    = features
features_of.melrvq = mel
features_of.random = mel
features_of.fsq    = mel
features_of.random-fsq = mel

FEATURES.features ?= $(FEATURES)
FEATURES.mfcc     ?= mert-mel --mfcc
FEATURES.chroma   ?= mert-cqt --chroma 24
FEATURES.hubert   ?= mert-encode -m $(call quoted,$(HUBERT)) --layers $(LAYER) --dtype f16$(DEVICE:%= --device %)
FEATURES.mel      ?= mert-mel --bins 128 --log --hop 240

family.kmeans = kmeans mfcc chroma hubert
family = $(if $(filter $(1),$(family.kmeans)),kmeans,rvq)
ending = $(if $(filter kmeans,$(1)),km,$(1)$(if $(filter kmeans,$(call family,$(1))),_km,_%d))

K.melrvq ?= $(or $(K),1024)
K.random ?= $(or $(K),8192)
CODEBOOKS.random ?= $(or $(CODEBOOKS),1)
CODEBOOKS.fsq    ?= $(or $(CODEBOOKS),1)
CODEBOOKS.random-fsq ?= $(or $(CODEBOOKS),1)
classes   = $(or $(K.$(1)),$(K),500)
codebooks = $(or $(CODEBOOKS.$(1)),$(CODEBOOKS),8)
TRAIN.kmeans ?=#            more options of a teacher's training: TRAIN.mfcc='--lloyd 20'

train.kmeans  = mert-kmeans train -k $(call classes,$(1)) --seed $(SEED) $(TRAIN.$(1))
train.rvq     = mert-rvq train --method $(1) $(if $(filter fsq random-fsq,$(1)),--levels $(LEVELS.$(1)),--classes $(call \
                    classes,$(1))) --codebooks $(call codebooks,$(1)) \
                    --seed $(SEED) $(TRAIN.$(1))
encode.kmeans = mert-kmeans assign
encode.rvq    = mert-rvq encode $(if $(filter encodec,$(1)),--codebooks $(call codebooks,$(1))$(DEVICE:%= --device %))
codebook      = $(if $(filter encodec,$(1)),$(ENCODEC),$(OUT)/$(1).safetensors)
source        = $(OUT)/$(if $(filter encodec,$(1)),pcm,features/$(features_of.$(1)))

# ---- what the two halves of this file share ----

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

there = $(if $(shell test -e $(call quoted,$(1)) && echo yes),,$(error MODEL: $(1): no such file or folder))
$(if $(filter encodec,$(TEACHERS)),$(call there,$(ENCODEC)))
$(if $(filter hubert,$(TEACHERS)),$(call there,$(HUBERT)))
FLAGS := -q --max-failed $(strip $(MAX_FAILED))
SALVAGED := $(if $(filter yes,$(SALVAGE)),--salvage)
$(if $(and $(SALVAGED),$(filter yes,$(IN_PLACE))),$(error SALVAGE: what was salvaged can be trained on from packed audio only: \
    leave out SALVAGE or IN_PLACE))
ONE   := $(FLAGS) --threads $(strip $(THREADS))
# Blanks in it are its own.
this  := $(subst :,,$(subst : ,,:$(MAKEFILE_LIST)))
self  := --no-print-directory -f $(call quoted,$(this))
# A model file or folder, by the names, sizes and times in it.
looked_at = $(shell find -L $(call quoted,$(1)) -type f -printf '%P %s %T@,' 2>&1)

settings.pcm      = $(RATE) $(SALVAGED)
kind = $(if $(DEVICE),$(subst --device $(DEVICE),--device $(firstword $(subst :, ,$(DEVICE))),$(1)),$(1))
settings.features = $(call kind,$(FEATURES.$(1))) $(if $(filter hubert,$(1)),$(call looked_at,$(HUBERT)))
settings.encodec  = $(call codebooks,encodec) $(call looked_at,$(ENCODEC)) $(call kind,$(DEVICE:%=--device %))
settings.trained  = $(RATE) $(call train.$(call family,$(1)),$(1)) $(call settings.features,$(features_of.$(1))) \
                        $(if $(filter kmeans,$(call family,$(1))),lloyd=$(LLOYD))
settings = $(strip $(if $(filter features-%,$(1)),$(call settings.features,$(1:features-%=%)),\
               $(if $(filter pcm encodec,$(1)),$(settings.$(1)),$(call settings.trained,$(1)))))

needed := $(sort $(foreach t,$(filter-out encodec,$(TEACHERS)),$(features_of.$(t))))
way_on = prepare: MAX_FAILED=N or N% leaves out files that fail, by name$(if $(filter yes,$(IN_PLACE)),,; SALVAGE=yes takes of \
    them what plays before the fault)

# ---- settings that are stored in OUT ----

stored := $(if $(wildcard $(OUT)/train.tsv $(OUT)/files.tsv),$(file <$(OUT)/.split))
kept    = $(patsubst $(1)=%,%,$(filter $(1)=%,$(stored)))
differs = $(filter-out $(filter $(1)=%,$(stored)),$(1)=$($(1)))
keep    = $(if $(filter $(1)=%,$(stored)),$(if $(filter $(1),$(given)),$(if $(filter anew,$(MAKECMDGOALS)),,$(if $(call differs,$(1)),\
    $(error $(1)=$($(1)) would deal the files anew, which $(OUT) has by $(filter $(1)=%,$(stored)): leave it out, name another OUT, or \
    add the goal 'anew'))),$(eval override $(1) := $(call kept,$(1)))))
$(foreach v,VALID SEED EXT,$(call keep,$(v)))

ifndef HELD
# The sample rate of a model, from mert-model, or from an EnCodec's configuration.
rate_of = $(or $(shell $(bin)mert-model info $(call quoted,$(1)) 2> /dev/null | sed -n 's/^input:.* at \([0-9]*\) Hz.*/\1/p'),$(shell \
    sed -n 's/.*"sampling_rate": *\([0-9]*\).*/\1/p' $(call quoted,$(1)/config.json) 2> /dev/null | head -n 1),$(2))
encodec_rate := $(if $(filter encodec,$(TEACHERS)),$(call rate_of,$(ENCODEC),24000))
hubert_rate  := $(if $(filter hubert,$(TEACHERS)),$(call rate_of,$(HUBERT)))
model_rate   := $(sort $(encodec_rate) $(hubert_rate))
$(if $(word 2,$(model_rate)),$(error MODEL: $(ENCODEC) needs $(encodec_rate) samples a second, $(HUBERT) $(hubert_rate): an OUT for each))
$(if $(model_rate),$(if $(RATE),$(if $(filter-out $(model_rate),$(RATE)),$(error RATE=$(RATE), but the model needs $(model_rate) samples a \
    second: $(if $(encodec_rate),$(ENCODEC),$(HUBERT)): leave RATE out, or take another MODEL)),$(if $(filter-out $(model_rate),$(call kept,RATE)),\
    $(error RATE: $(OUT) has $(call kept,RATE) samples a second, MODEL needs $(model_rate): another OUT, or RATE=$(model_rate) to make all again))))
endif
override RATE := $(or $(RATE),$(model_rate),$(call kept,RATE),24000)

ifndef HELD
# ---- locking ----

dry  = $(findstring n,$(firstword -$(MAKEFLAGS)))
no_goal := $(filter-out all pcm retrain anew fairseq hold,$(MAKECMDGOALS))
$(if $(no_goal),$(error $(no_goal): no such goal; there are all pcm retrain anew fairseq))

all pcm retrain anew fairseq: hold
hold:
	@$(if $(dry),,sh "$$(dirname $(call quoted,$(this)))/hold" prepare '$(OUT)') $(MAKE) $(self) HELD=yes RATE=$(RATE) $(or $(MAKECMDGOALS),all)

.PHONY: all pcm retrain anew fairseq hold

else ifndef SCANNED
# ---- first half: existing files, and settings ----

all anew: scan $(patsubst %,$(OUT)/.settings.%,pcm $(needed:%=features-%) $(TEACHERS))
	@$(MAKE) $(self) SCANNED=yes labels
	@rm -f '$(OUT)'/.list.*

pcm: all
	@$(MAKE) $(self) SCANNED=yes IN_PLACE=no pcm
fairseq: all
	@$(MAKE) $(self) SCANNED=yes fairseq

# Prints nothing if nothing changed. Removes files of shards that no longer exist, and temporary files of killed
# programs.
part  = [0-9][0-9][0-9][0-9][0-9]
parts = for d in '$(OUT)'/pcm '$(OUT)'/features/* '$(OUT)'/codes/*; do for f in "$$d"/train.$(part).mts$(1) "$$d"/valid.$(part).mts$(1); do
split = $(foreach v,VALID SEED EXT RATE,$(v)=$($(v)))
newer = -type f -newer .now -exec touch
scan:
	@mkdir -p '$(OUT)'
	@$(call parts,.part*) [ ! -f "$$f" ] || rm -f "$$f"; done; done
	@rm -f '$(OUT)'/.list.* '$(OUT)'/train.*.tmp-* '$(OUT)'/valid.*.tmp-* '$(OUT)'/files.tsv.tmp-* '$(OUT)'/*.safetensors.tmp-* \
	    '$(OUT)'/shards/*.tsv.tmp-*
	@touch '$(OUT)/.now'; cd '$(OUT)' && for d in pcm features codes; do [ ! -d $$d ] || find $$d -name '*.mts' $(newer) -d @1 {} +; done
	@cd '$(OUT)' && find . -maxdepth 1 \( -name 'train.*' -o -name 'valid.*' \) ! -name '*.tsv' $(newer) -d @1 {} +
	@cd '$(OUT)' && find . -maxdepth 1 \( -name '*.tsv' -o -name '*.safetensors' -o -name '.settings.*' \) $(newer) -r .now {} +
	@cd '$(OUT)' && for d in shards lloyd; do [ ! -d $$d ] || find $$d $(newer) -r .now {} +; done; rm -f .now
	@printf '%s\n' $(split) | cmp -s - '$(OUT)/.split' || { printf '%s\n' $(split) > '$(OUT)/.split.new' && \
	    mv '$(OUT)/.split.new' '$(OUT)/.split'; }
	@$(bin)mert-manifest $(FLAGS) $(SALVAGED) --out '$(OUT)' --shards $(SHARDS) --shard-hours $(HOURS) --valid-percent $(VALID) \
	    --seed $(SEED) --rate $(RATE) $(if $(EXT),--ext $(EXT)) $(if $(filter yes,$(TAR)),--tar) $(call quoted,$(AUDIO)) || { s=$$?; echo "$(way_on)" >&2; exit $$s; }
	@$(call parts) n=$${f##*/}; [ ! -f "$$f" ] || [ -e "$(OUT)/shards/$${n%.mts}.tsv" ] || rm -f "$$f"; done; done

# The settings, in a file for each stage, which is written only if they differ. A codebook that was made with other
# settings is removed.
$(OUT)/.settings.%: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' $(call quoted,$(call settings,$*)) | cmp -s - $@ || { rm -rf $(OUT)/$*.safetensors $(OUT)/lloyd/$*; \
	    printf '%s\n' $(call quoted,$(call settings,$*)) > $@; }

# The same effect as changed settings.
retrain:
	rm -f $(patsubst %,$(OUT)/.settings.%,$(filter-out encodec,$(TEACHERS)))
	@$(MAKE) $(self) all

FORCE:
.PHONY: all pcm scan retrain anew fairseq FORCE

else
# ---- second half: the shards are known ----

parts  := $(filter train.% valid.%,$(patsubst $(OUT)/shards/%.tsv,%,$(sort $(wildcard $(OUT)/shards/*.tsv))))
halves := $(sort $(foreach p,$(parts),$(firstword $(subst ., ,$(p)))))
of      = $(filter $(1).%,$(parts))
$(if $(filter yes,$(VALIDATES)),$(if $(filter valid,$(halves)),,$(error nothing is held out to validate with: a new OUT with \
    VALID=PERCENT takes more, or VALID=PERCENT and the goal 'anew')))

# A name of its own for each run, because locks may not work.
new := part.$(shell uname -n).$(shell echo $$PPID)
dry := $(findstring n,$(firstword -$(MAKEFLAGS)))
# A list of prerequisites in a file, because a command of make can have at most 128 KiB.
list   = $(OUT)/.list.$(subst /,.,$(@:$(OUT)/%=%))
listed = $(if $(dry),,$(file >$(list),$(filter $(1),$^)))$$(cat $(list))

# If a name has %d, the first file stands for the set; it is written last.
labels: $(foreach t,$(TEACHERS),$(foreach h,$(halves),$(OUT)/$(h).$(subst %d,0,$(call ending,$(t)))))
	@:
pcm: $(parts:%=$(OUT)/pcm/%.mts)
	@:
# Files of an earlier run go: a set may have had more codebooks. A foreign file in the folder stays.
fairseq: labels
	@mkdir -p $(OUT)/fairseq && cd $(OUT)/fairseq && rm -f train.* valid.* dict.*.txt
	@$(foreach h,$(halves),$(bin)mert-tensor to-fairseq $(FLAGS) --rate $(RATE) --manifest $(OUT)/$(h).tsv -o $(OUT)/fairseq \
	    $(foreach t,$(TEACHERS),'$(OUT)/$(h).$(call ending,$(t))') &&) :
.PHONY: labels pcm fairseq

$(sort $(OUT)/pcm $(needed:%=$(OUT)/features/%) $(TEACHERS:%=$(OUT)/codes/%)):
	mkdir -p $@

decode = $(bin)mert-decode $(ONE) $(SALVAGED) --rate $(RATE) --dtype i16 --manifest
# What programs that hear samples depend on, and how they get it.
ifeq ($(IN_PLACE),yes)
samples = $(OUT)/shards/%.tsv $(OUT)/.settings.pcm
hear    = $(decode) $< | $(1)
else
samples = $(OUT)/pcm/%.mts
hear    = $(1) $<
endif

# Gets the time of its manifest: if it is made again, its features are not.
$(OUT)/pcm/%.mts: $(OUT)/shards/%.tsv $(OUT)/.settings.pcm | $(OUT)/pcm
	$(decode) $< > $@.$(new) || { echo "$(way_on)" >&2; exit 1; }
	@touch -r "$$(ls -t $^ | head -n 1)" $@.$(new) && mv $@.$(new) $@

# 1: the features
define make_features
$(OUT)/features/$(1)/%.mts: $(samples) $(OUT)/.settings.features-$(1) | $(OUT)/features/$(1)
	$$(call hear,$$(bin)$$(FEATURES.$(1)) $(ONE)) > $$@.$(new)
	@mv $$@.$(new) $$@
endef
$(foreach f,$(needed),$(eval $(call make_features,$(f))))

# 1: teacher. An existing codebook has no prerequisites.
define make_codebook
$(call codebook,$(1)): $(if $(wildcard $(call codebook,$(1))),,$(if $(filter-out 0,$(call iterations,$(1))),\
        $(OUT)/lloyd/$(1)/$(LLOYD).safetensors,$(patsubst %,$(call source,$(1))/%.mts,$(call of,train))))
	$(if $(filter-out 0,$(call iterations,$(1))),\
	    @mv $(OUT)/lloyd/$(1)/$(LLOYD).safetensors $$@ && rm -rf $(OUT)/lloyd/$(1),\
	    $$(bin)$$(call train.$(call family,$(1)),$(1)) $(FLAGS) -o $$@ $$(call listed,%.mts))
endef
iterations = $(if $(filter kmeans,$(call family,$(1))),$(LLOYD),0)
$(foreach t,$(filter-out encodec,$(TEACHERS)),$(eval $(call make_codebook,$(t))))

# Full iterations of k-means, by exact sums of each shard: any number of jobs makes the same codebook. 1: teacher, 2:
# iteration, 3: the next
define make_iteration
$(OUT)/lloyd/$(1)/$(2)/%.sums: $(call source,$(1))/%.mts $(OUT)/lloyd/$(1)/$(2).safetensors
	@mkdir -p $$(@D)
	$$(bin)mert-kmeans accumulate $(ONE) -m $(OUT)/lloyd/$(1)/$(2).safetensors -o $$@ $$<

$(OUT)/lloyd/$(1)/$(3).safetensors: $(patsubst %,$(OUT)/lloyd/$(1)/$(2)/%.sums,$(call of,train))
	$$(bin)mert-kmeans merge $(FLAGS) -o $$@ $$(call listed,%.sums)
endef
define make_iterations
$(OUT)/lloyd/$(1)/0.safetensors: $(patsubst %,$(call source,$(1))/%.mts,$(call of,train))
	@mkdir -p $$(@D)
	$$(bin)$$(call train.kmeans,$(1)) $(FLAGS) -o $$@ $$(call listed,%.mts)
$(foreach i,$(shell seq 1 $(LLOYD)),$(eval $(call make_iteration,$(1),$(shell expr $(i) - 1),$(i))))
endef
$(if $(filter-out 0,$(LLOYD)),$(foreach t,$(filter $(family.kmeans),$(TEACHERS)),$(eval $(call make_iterations,$(t)))))

# 1: teacher
labelling = $$(bin)$(call encode.$(call family,$(1)),$(1)) $(ONE) -m $$(call quoted,$$(call codebook,$(1)))
trained = $(if $(filter encodec,$(1)),,$(call codebook,$(1)))
define make_codes
$(OUT)/codes/$(1)/%.mts: $(if $(filter encodec,$(1)),$(samples),$(call source,$(1))/%.mts) $(call trained,$(1)) $(OUT)/.settings.$(1) | $(OUT)/codes/$(1)
	$(if $(filter encodec,$(1)),$$(call hear,$(labelling)),$(labelling) $$<) > $$@.$(new)
	@mv $$@.$(new) $$@
endef
$(foreach t,$(TEACHERS),$(eval $(call make_codes,$(t))))

# 1: teacher, 2: train or valid. Made in a separate folder; the target is moved last, so that the set is complete.
define make_labels
$(OUT)/$(2).$(subst %d,0,$(call ending,$(1))): $(OUT)/$(2).tsv $(patsubst %,$(OUT)/codes/$(1)/%.mts,$(call of,$(2)))
	@rm -rf $(OUT)/codes/$(1)/labels-$(2) && mkdir $(OUT)/codes/$(1)/labels-$(2)
	$$(bin)mert-tensor gather $(FLAGS) --manifest $$< $$(call listed,%.mts) | \
	    $$(bin)mert-tensor labels $(FLAGS) -o '$(OUT)/codes/$(1)/labels-$(2)/$(2).$(call ending,$(1))'
	$(if $(findstring %d,$(call ending,$(1))),@k=$(call codebooks,$(1)); f='$(OUT)/$(2).$(subst %d,,$(call ending,$(1)))'; \
	    while [ -e "$$$$f$$$$k" ]; do rm -f "$$$$f$$$$k" "$$$$f$$$$k.meta"; k=$$$$((k + 1)); done)
	@cd $(OUT)/codes/$(1)/labels-$(2) && for f in *; do [ "$$$$f" = $$(@F) ] || mv "$$$$f" ../../../; done && mv $$(@F) ../../../ && \
	    cd .. && rmdir labels-$(2)
endef
$(foreach t,$(TEACHERS),$(foreach h,$(halves),$(eval $(call make_labels,$(t),$(h)))))
endif
