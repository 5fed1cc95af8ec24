"""Why operators of ONNX's default domain are not taken, in a sentence for the user."""

from __future__ import annotations

_RANDOM = "random numbers make a network that no test can reproduce: export it for inference"
_SIZE = "the size of its result depends on the data: its operands must be constants"
_SEQUENCE = "sequences and optional values are not supported, only tensors"
_TEXT = "text is not supported, only numbers"
_TRAINING = "it belongs to training: export the model for inference"
_INTEGER = "it computes on the bits of integers: its operands must be constants"
_DETECTION = "it is part of a detector's post-processing: cut the model in front of it"

REASONS: dict[str, str] = {
    **dict.fromkeys(("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike",
                     "RandomUniform", "RandomUniformLike"), _RANDOM),
    **dict.fromkeys(("NonZero", "Unique", "Compress", "Range"), _SIZE),
    **dict.fromkeys(("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement",
                     "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
                     "SequenceInsert", "SequenceLength", "SequenceMap", "SplitToSequence"),
                    _SEQUENCE),
    **dict.fromkeys(("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit",
                     "TfIdfVectorizer"), _TEXT),
    **dict.fromkeys(("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"), _TRAINING),
    **dict.fromkeys(("BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"),
                    _INTEGER),
    **dict.fromkeys(("NonMaxSuppression", "RoiAlign", "MaxRoiPool"), _DETECTION),
    **dict.fromkeys(("BlackmanWindow", "ConstantOfShape", "Det", "HammingWindow", "HannWindow",
                     "MelWeightMatrix"), "its operands must be constants"),
    "ImageDecoder": "it decodes image files: feed the model with pixels",
    "MaxUnpool": "it needs the places that MaxPool found, which are not computed",
}  # fmt: skip
