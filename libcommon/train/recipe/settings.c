#include "libcommon/train/recipe/settings.h"

#include <string.h>

static const char *const models[] = {"transformer", "conformer", NULL};
static const char *const front_ends[] = {"mel", "waveform", NULL};
static const char *const mask_spans[] = {"random", "grid", NULL};
static const char *const mask_with[] = {"vector", "noise", NULL};
static const char *const extractor_modes[] = {"default", "layer_norm", NULL};
static const char *const extractor_inits[] = {"random", "sinusoids", NULL};
static const char *const activation_types[] = {"f32", "bf16", NULL};
static const char *const precisions[] = {"f32", "bf16", "fp16", NULL}; /* as mert_element_type */
static const char *const schedules[] = {"polynomial_decay", "cosine", "inverse_sqrt", NULL}; /* as mert_schedule */
static const char *const best_metrics[] = {"none", "loss", "ce", "accuracy", NULL};
static const char *const replace_types[] = {"in_sample", "in_batch", NULL};

#define S(title, type, field, low, high, text, what)                                                                   \
    .name = title, .kind = type, .offset = offsetof(mert_recipe, field), .min = low, .max = high, .preset = text,      \
    .help = what
const mert_setting mert_settings[] = {
    {.name = "the model", .kind = HEADING},
    {S("model", CHOICE, model, 0, 0, "transformer",
       "transformer: MERT of 2023, an extractor and transformer layers; conformer: MERT-v2, a subsampler and Conformer "
       "blocks"),
     .choices = models},
    {S("sample_rate", WHOLE, sample_rate, 1000, 192000, "24000", "Hz; audio at another rate is refused")},
    {S("conv_feature_layers", CONVS, conv_feature_layers, 0, 0, "512x10/5 512x3/2*4 512x2/2*2",
       "layers of the extractor: channels x kernel / stride * times"), .only = MERT_OF_WAVEFORM},
    {S("extractor_mode", CHOICE, extractor_mode, 0, 0, "default",
       "default: GroupNorm over time after the first layer; layer_norm: LayerNorm after each layer"),
     .choices = extractor_modes, .only = MERT_OF_WAVEFORM},
    {S("conv_bias", FLAG, conv_bias, 0, 0, "no", "whether the convolutions of the extractor have a bias"),
     .only = MERT_OF_WAVEFORM},
    {S("normalize", FLAG, normalize, 0, 0, "no",
       "each item is normalised as a whole to mean 0 and variance 1, as models with LayerNorm in the extractor want"),
     .only = MERT_OF_TRANSFORMER},
    {S("extractor_init", CHOICE, extractor_init, 0, 0, "random",
       "first values of its first layer: random (as published), or sinusoids, for small models"),
     .choices = extractor_inits, .only = MERT_OF_WAVEFORM},
    {S("pretrained_weights", PATH, pretrained_weights, 0, 0, "none",
       "a model from which the extractor takes its first values"), .only = MERT_OF_WAVEFORM},
    {S("feature_extractor_cqt", FLAG, feature_extractor_cqt, 0, 0, "no",
       "the CQT as a second input, beside the extractor's channels (only for frames of 1/50 s)"),
     .only = MERT_OF_TRANSFORMER},
    {S("feature_extractor_cqt_bins", WHOLE, feature_extractor_cqt_bins, 7, 4096, "84",
       "number of bins of this CQT, over seven octaves"), .only = MERT_OF_TRANSFORMER},
    {S("front_end", CHOICE, front_end, 0, 0, "mel",
       "what a Conformer's subsampler is given: log mel spectra, or the output of an extractor"),
     .choices = front_ends, .only = MERT_OF_CONFORMER},
    {S("num_mel_bins", WHOLE, num_mel_bins, 1, 4096, "128", "number of bins of the mel spectra"),
     .only = MERT_OF_MEL},
    {S("n_fft", WHOLE, n_fft, 16, 1 << 20, "2048", "length of their FFT, in samples"), .only = MERT_OF_MEL},
    {S("win_length", WHOLE, win_length, 16, 1 << 20, "2048", "length of their window, in samples; at most n_fft"),
     .only = MERT_OF_MEL},
    {S("hop_length", WHOLE, hop_length, 1, 1 << 20, "240", "samples from one spectrum to the next"),
     .only = MERT_OF_MEL},
    {S("mel_mean", REAL, mel_mean, -1e3, 1e3, "6.77", "mean of the mel spectra, in dB, which is subtracted"),
     .only = MERT_OF_MEL},
    {S("mel_std", REAL, mel_std, 1e-3, 1e3, "18.42", "their standard deviation, which they are divided by"),
     .only = MERT_OF_MEL},
    {S("subsampling_channels", WHOLE_LIST, subsampling_channels, 1, 65536, "128 512 1024",
       "channels of the subsampler's stages; the first is what the front end has, the last the width"),
     .only = MERT_OF_CONFORMER},
    {S("subsampling_depths", WHOLE_LIST, subsampling_depths, 0, 1000, "3 4 5", "ConvNeXt layers of each stage"),
     .only = MERT_OF_CONFORMER},
    {S("subsampling_strides", WHOLE_LIST, subsampling_strides, 1, 16, "1 2 2",
       "frames that each stage makes one of; 1 2 2 with hop_length 240: 25 frames per second"),
     .only = MERT_OF_CONFORMER},
    {S("subsampling_kernel_size", WHOLE, subsampling_kernel_size, 1, 1023, "7",
       "kernel of the subsampler's depthwise convolutions, in frames; odd"),
     .only = MERT_OF_CONFORMER},
    {S("conv_depthwise_kernel_size", WHOLE, conv_depthwise_kernel_size, 1, 1023, "31",
       "kernel of the depthwise convolution of each Conformer block, in frames; odd"),
     .only = MERT_OF_CONFORMER},
    {S("rotary_embedding_base", WHOLE, rotary_embedding_base, 1, 1 << 30, "10000",
       "base of the angles of rotary positions"),
     .only = MERT_OF_CONFORMER},
    {S("encoder_layers", WHOLE, encoder_layers, 1, MERT_LAYERS_MAX, "12", "number of layers")},
    {S("encoder_embed_dim", WHOLE, encoder_embed_dim, 1, 65536, "768", "width of the layers")},
    {S("encoder_ffn_embed_dim", WHOLE, encoder_ffn_embed_dim, 1, 262144, "3072", "width of the feed-forward layers")},
    {S("encoder_attention_heads", WHOLE, encoder_attention_heads, 1, 1024, "12",
       "number of attention heads; must divide the width")},
    {S("conv_pos", WHOLE, conv_pos, 1, 4096, "128", "kernel of the positional convolution, in frames"),
     .only = MERT_OF_TRANSFORMER},
    {S("conv_pos_groups", WHOLE, conv_pos_groups, 1, 4096, "16", "groups of this convolution; must divide the width"),
     .only = MERT_OF_TRANSFORMER},
    {S("layer_norm_first", FLAG, layer_norm_first, 0, 0, "no", "pre-LN (as in the 330M model) instead of post-LN"),
     .only = MERT_OF_TRANSFORMER},
    {S("deepnorm", FLAG, deepnorm, 0, 0, "no", "multiply residuals by (2 layers)^0.25 (post-LN only)"),
     .only = MERT_OF_TRANSFORMER},
    {S("attention_relax", REAL, attention_relax, -1, 1e6, "-1",
       "written into exported models; changes nothing in exact arithmetic"), .only = MERT_OF_TRANSFORMER},
    {S("final_dim", WHOLE, final_dim, 1, 65536, "64", "width in which predictions and label embeddings are compared")},
    {S("untie_final_proj", FLAG, untie_final_proj, 0, 0, "yes", "one projection per codebook instead of one for all")},
    {S("learnable_temp", FLAG, learnable_temp, 0, 0, "no", "one temperature per codebook, which is trained")},
    {S("target_glu", FLAG, target_glu, 0, 0, "no", "apply a linear layer and GLU to the label embeddings")},

    {.name = "the targets and the loss", .kind = HEADING},
    {S("codebooks", WHOLE, codebooks, 0, MERT_CODEBOOKS_MAX, "0",
       "number of codebooks to predict; 0: all that are given")},
    {S("random_codebook", WHOLE, random_codebook, 0, MERT_CODEBOOKS_MAX, "0",
       "number of codebooks that have a loss, drawn anew for each batch; 0: all")},
    {S("classes", WHOLE, classes, 0, 1 << 24, "0", "classes of each codebook; 0: as in the .meta files of the labels")},
    {S("special_rows", WHOLE, special_rows, 0, 1024, "4",
       "number of label embeddings before class 0, for the special symbols of fairseq")},
    {S("label_rate", REAL, label_rate, 0, 1e5, "0",
       "labels per second; 0: as in the .meta files, or the frame rate")},
    {S("label_tolerance", REAL, label_tolerance, 0, 1e4, "0.1",
       "largest difference in length between labels and audio of an item, in seconds")},
    {S("logit_temp", REAL, logit_temp, 1e-4, 1e4, "0.1",
       "logits are cosines divided by this; with learnable_temp, the first value")},
    {S("pred_nomask_weight", REAL, pred_nomask_weight, 0, 1e6, "0",
       "weight of the cross entropies of frames that are not masked; for masked frames it is 1")},
    {S("features_pen_weight", REAL, features_pen_weight, 0, 1e6, "10",
       "weight of the mean square of the extractor's output"), .only = MERT_OF_WAVEFORM},
    {S("audio_cqt_loss_m", FLAG, audio_cqt_loss_m, 0, 0, "yes", "also predict the CQT of masked frames")},
    {S("audio_cqt_bins", WHOLE, audio_cqt_bins, 7, 4096, "336",
       "number of bins of this CQT, over seven octaves from 32.7 Hz")},
    {S("cqt_loss_weight", REAL, cqt_loss_weight, 0, 1e6, "1", "weight of its mean squared error")},
    {S("audio_mel_loss_m", FLAG, audio_mel_loss_m, 0, 0, "no", "also predict the log mel spectrum of masked frames")},
    {S("audio_mel_bins", WHOLE, audio_mel_bins, 1, 4096, "84", "number of bins of this mel spectrum")},
    {S("mel_loss_weight", REAL, mel_loss_weight, 0, 1e6, "1", "weight of its mean squared error")},

    {.name = "dropout, masks and mixture", .kind = HEADING},
    {S("dropout", REAL, dropout, 0, 0.999, "0.1",
       "after attention, after the feed-forward layer, and before the first layer")},
    {S("attention_dropout", REAL, attention_dropout, 0, 0.999, "0.1", "dropout of attention weights")},
    {S("activation_dropout", REAL, activation_dropout, 0, 0.999, "0", "dropout inside of the feed-forward layer")},
    {S("dropout_input", REAL, dropout_input, 0, 0.999, "0.1", "dropout of what the layers are given")},
    {S("dropout_features", REAL, dropout_features, 0, 0.999, "0.1",
       "dropout of a copy of the features that is not used, as in fairseq: no effect")},
    {S("encoder_layerdrop", REAL, encoder_layerdrop, 0, 0.999, "0.05", "probability of skipping a whole layer")},
    {S("feature_grad_mult", REAL, feature_grad_mult, 0, 1e3, "0.1",
       "the gradient of the extractor is multiplied by this"), .only = MERT_OF_WAVEFORM},
    {S("mask_prob", REAL, mask_prob, 0.01, 1, "0.8",
       "share of frames to mask; frames in two overlapping spans count twice")},
    {S("mask_length", WHOLE, mask_length, 1, 10000, "5", "number of frames of a masked span")},
    {S("mask_spans", CHOICE, mask_spans, 0, 0, "random",
       "random: spans begin anywhere, mask_prob of the frames; grid: at multiples of mask_length, each with this "
       "probability, as MusicFM and MuQ mask"),
     .choices = mask_spans},
    {S("mask_with", CHOICE, mask_with, 0, 0, "vector",
       "what stands in the place of masked frames: a vector that is trained (a Conformer's before the subsampler), or "
       "noise in the waveform"),
     .choices = mask_with},
    {S("mask_noise", REAL, mask_noise, 0, 10, "0.1", "standard deviation of this noise")},
    {S("mask_dynamic_prob_step", WHOLE_LIST, mask_dynamic_prob_step, 1, 1LL << 40, "none",
       "updates after which mask_prob changes to the next of mask_dynamic_prob")},
    {S("mask_dynamic_prob", REAL_LIST, mask_dynamic_prob, 0.01, 1, "none",
       "values instead of mask_prob: one more than there are steps")},
    {S("mask_dynamic_len_step", WHOLE_LIST, mask_dynamic_len_step, 1, 1LL << 40, "none",
       "updates after which mask_length changes to the next of mask_dynamic_len")},
    {S("mask_dynamic_len", WHOLE_LIST, mask_dynamic_len, 1, 10000, "none",
       "values instead of mask_length: one more than there are steps")},
    {S("mask_replace", REAL, mask_replace, 0, 1, "0",
       "probability that a masked frame is replaced by another frame"), .only = MERT_OF_TRANSFORMER},
    {S("mask_replace_type", CHOICE, mask_replace_type, 0, 0, "in_sample",
       "other frames are from the same crop, or from the whole batch"),
     .choices = replace_types, .only = MERT_OF_TRANSFORMER},
    {S("mask_origin", REAL, mask_origin, 0, 1, "0",
       "probability that a masked frame is not changed (its label is still predicted)"), .only = MERT_OF_TRANSFORMER},
    {S("mask_channel_prob", REAL, mask_channel_prob, 0, 1, "0",
       "share of the channels of each crop that are set to 0, overlaps counted twice"), .only = MERT_OF_TRANSFORMER},
    {S("mask_channel_length", WHOLE, mask_channel_length, 1, 65536, "10", "number of channels of such a span"),
     .only = MERT_OF_TRANSFORMER},
    {S("mixture_prob", REAL, mixture_prob, 0, 1, "0.5",
       "probability that segments of other crops of the batch are added to a crop")},
    {S("inbatch_noise_augment_len_range", WHOLES, mixture_length, 1, 1 << 28, "12000 24000",
       "smallest and largest length of such a segment, in samples")},
    {S("inbatch_noise_augment_number_range", WHOLES, mixture_number, 1, 1000, "1 3",
       "smallest and largest number of segments")},
    {S("inbatch_noise_augment_volume", REAL, mixture_volume, 0, 100, "1", "gain of the segments")},

    {.name = "batches", .kind = HEADING},
    {S("max_sample_size", WHOLE, max_sample_size, 1, 1 << 28, "120000", "largest length of a crop, in samples")},
    {S("min_sample_size", WHOLE, min_sample_size, 1, 1 << 28, "72000", "items with fewer samples are left out")},
    {S("crops_per_item", WHOLE, crops_per_item, 0, 1 << 20, "1",
       "number of crops of an item in each epoch; 0: as many as fit into its length")},
    {S("crop_jitter", FLAG, crop_jitter, 0, 0, "no",
       "crops begin at any sample, as in the official loader, not at the beginning of a frame")},
    {S("dynamic_crops", REAL_LIST, dynamic_crops, 1e-3, 1e5, "none",
       "largest lengths of a crop in seconds, each from its epoch in dynamic_crops_epoches on")},
    {S("dynamic_crops_epoches", WHOLE_LIST, dynamic_crops_epoches, 1, 1 << 30, "none",
       "the epochs for dynamic_crops, counted from 1; the first must be 1")},
    {S("max_tokens", WHOLE, max_tokens, 1, 1LL << 40, "2000000", "largest number of samples of a batch")},
    {S("required_batch_size_multiple", WHOLE, batch_multiple, 1, 65536, "8",
       "batches larger than this are cut to a multiple of it")},
    {S("sharding_data", WHOLE, sharding_data, 0, 1 << 16, "0",
       "an epoch uses one of this number of shards of the manifest (train_0_6.tsv ...); 0: all")},
    {S("load_random_data_shard", FLAG, load_random_data_shard, 0, 0, "yes",
       "each epoch uses a random shard; no: one after the other")},
    {S("replay_share", REAL, replay_share, 0, 0.99, "0",
       "share of the crops of an epoch that come from an old corpus (--replay-manifest)")},

    {.name = "updates", .kind = HEADING},
    {S("update_freq", WHOLE, update_freq, 1, 1 << 20, "1",
       "number of batches of each process whose gradients are added up for one update")},
    {S("update_batches", WHOLE, update_batches, 0, 1 << 26, "0",
       "instead of update_freq: number of batches of an update, of all processes together")},
    {S("lr", REAL, lr, 0, 1e3, "0.0005", "highest learning rate")},
    {S("lr_seconds", REAL, lr_seconds, 0, 1e9, "0",
       "seconds of audio of an update that lr was chosen for, for a warning; 0: not known"), .free = 1},
    {S("lr_schedule", CHOICE, lr_schedule, 0, 0, "polynomial_decay",
       "how the learning rate falls after the warm-up: polynomial_decay (a straight line), cosine, or inverse_sqrt"),
     .choices = schedules},
    {S("warmup_updates", WHOLE, warmup_updates, 0, 1LL << 40, "32000",
       "number of updates in which the learning rate rises from 0 to lr")},
    {S("total_updates", WHOLE, total_updates, 1, 1LL << 40, "400000",
       "number of updates until the learning rate is 0 again")},
    {S("max_update", WHOLE, max_update, 0, 1LL << 40, "0",
       "stop after this update; 0: after total_updates"), .free = 1},
    {S("adam_betas", REALS, adam_betas, 0, 0.999999, "0.9 0.98", "decay rates of the two moments")},
    {S("adam_eps", REAL, adam_eps, 0, 1, "1e-06", "added to the square root of the second moment")},
    {S("weight_decay", REAL, weight_decay, 0, 1e3, "0.01", "decoupled weight decay, multiplied by the learning rate")},
    {S("clip_norm", REAL, clip_norm, 0, 1e9, "10", "largest norm of the gradient; 0: no limit")},
    {S("ema_decay", REAL, ema_decay, 0, 0.9999999, "0",
       "decay of a moving mean of the weights, which is written as SAVE/ema; 0: none")},
    {S("seed", WHOLE, seed, 0, 1LL << 52, "1337", "seed of all random numbers")},
    {S("valid_seed", WHOLE, valid_seed, 0, 1LL << 52, "1337",
       "seed of the crops and masks of validation, the same for runs of any seed")},
    {S("precision", CHOICE, precision, 0, 0, "f32",
       "of activations and of the weights in products: float32, bfloat16, or float16 with a dynamic loss scale"),
     .choices = precisions},
    {S("recompute", FLAG, recompute, 0, 0, "no",
       "keep only the input of each layer, and compute it again in the backward pass: half the memory of a batch"),
     .free = 1},
    {S("activations", CHOICE, activations, 0, 0, "f32",
       "format of values kept for the backward pass: unchanged, or rounded to bfloat16"),
     .choices = activation_types},

    {.name = "logs and checkpoints", .kind = HEADING},
    {S("log_interval", WHOLE, log_interval, 1, 1LL << 40, "200",
       "number of updates from one line of the log to the next"), .free = 1},
    {S("validate_interval", WHOLE, validate_interval, 0, 1LL << 40, "10000",
       "number of updates from one validation to the next; 0: only before the first and after the last"),
     .free = 1},
    {S("save_interval", WHOLE, save_interval, 0, 1LL << 40, "25000",
       "number of updates from one checkpoint to the next; 0: only after the last update"),
     .free = 1},
    {S("save_minutes", REAL, save_minutes, 0, 1e6, "30",
       "also write a checkpoint after this number of minutes, which the next one replaces; 0: none"),
     .free = 1},
    {S("keep", WHOLE, keep, 0, 1 << 20, "0",
       "number of the newest checkpoints to keep; 0: all, or only the last if one of the next two is not 0"),
     .free = 1},
    {S("keep_interval", WHOLE, keep_interval, 0, 1LL << 40, "0",
       "also keep the checkpoints whose update is a multiple of this; 0: none"),
     .free = 1},
    {S("keep_hours", REAL, keep_hours, 0, 1e6, "0",
       "also keep the checkpoints of this number of last hours; 0: none"), .free = 1},
    {S("best_metric", CHOICE, best_metric, 0, 0, "none",
       "the figure of validations by which SAVE/best is the best model: none, loss, ce or accuracy"),
     .choices = best_metrics, .free = 1},
    {S("patience", WHOLE, patience, 0, 1LL << 40, "0",
       "end the run after this number of validations without a better one; 0: never"), .free = 1},
};
#undef S
const int mert_settings_n = sizeof mert_settings / sizeof *mert_settings;
_Static_assert(sizeof mert_settings / sizeof *mert_settings <= MERT_SETTINGS_MAX, "more settings than room for them");

int mert_setting_may_change(const mert_setting *s)
{
    static const char *const weights[] = {
        "lr", "lr_schedule", "warmup_updates", "total_updates", "adam_betas", "adam_eps", "weight_decay", "clip_norm", "ema_decay",
        "pred_nomask_weight", "features_pen_weight", "cqt_loss_weight", "mel_loss_weight", "feature_grad_mult",
        "dropout", "attention_dropout", "activation_dropout", "dropout_input", "encoder_layerdrop", "mixture_prob",
        "inbatch_noise_augment_volume", NULL};
    static const char *const batches[] = {"max_tokens", "required_batch_size_multiple", "crops_per_item",
                                          "dynamic_crops", "dynamic_crops_epoches", "sharding_data",
                                          "load_random_data_shard", NULL};
    for (int i = 0; weights[i]; i++)
        if (!strcmp(s->name, weights[i]))
            return 1;
    for (int i = 0; batches[i]; i++)
        if (!strcmp(s->name, batches[i]))
            return 2;
    return s->free;
}

const mert_setting *mert_recipe_meaningless(const mert_recipe *r)
{
    int is = (r->model ? MERT_OF_CONFORMER : MERT_OF_TRANSFORMER) |
             (mert_recipe_hears_mel(r) ? MERT_OF_MEL : MERT_OF_WAVEFORM);
    mert_recipe defaults, zero = {0};
    mert_recipe_defaults(&defaults);
    for (const mert_setting *s = mert_settings; s < mert_settings + mert_settings_n; s++)
        if (s->kind != HEADING && s->only && !(s->only & is) && !mert_setting_same(s, r, &defaults) &&
            !mert_setting_same(s, r, &zero))
            return s;
    return NULL;
}
