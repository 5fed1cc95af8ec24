"""Keras LSTM layers in the form that TensorFlow's converter makes one operator of.

The converter turns a function marked `api_implements` "lstm_..." with the arguments and results
below into UNIDIRECTIONAL_SEQUENCE_LSTM. Keras 2 marks its function so, Keras 3 does not, and its
layers would become loops.
"""

from __future__ import annotations

import uuid
from typing import Any


def use_fusable_lstm() -> None:
    """Let Keras' LSTM layers of this process call the marked function."""
    import keras.src.backend as backend

    backend.lstm = _lstm


def _lstm(
    inputs: Any, initial_state_h: Any, initial_state_c: Any, mask: Any, kernel: Any,
    recurrent_kernel: Any, bias: Any, activation: Any, recurrent_activation: Any,
    return_sequences: bool = False, go_backwards: bool = False, unroll: bool = False,
) -> Any:  # fmt: skip
    """What `keras.layers.LSTM` asks its backend for: last output, outputs, last states.

    Raises:
        NotImplementedError: for what the operator cannot do; the layer then runs its own loop.
    """
    import keras
    import tensorflow as tf

    usual = (keras.activations.tanh, keras.activations.sigmoid)
    if mask is not None or (activation, recurrent_activation) != usual:
        raise NotImplementedError
    if bias is None:
        bias = tf.zeros([recurrent_kernel.shape[-1]])

    def standard_lstm(
        inputs: Any, init_h: Any, init_c: Any, kernel: Any, recurrent_kernel: Any, bias: Any
    ) -> Any:
        # The converter replaces this body; it is what the marked function means.
        def step(state: Any, x: Any) -> Any:
            h, c = state
            gates = tf.matmul(x, kernel) + tf.matmul(h, recurrent_kernel) + bias
            i, f, g, o = tf.split(gates, 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c

        steps = tf.transpose(inputs, [1, 0, 2])
        steps = tf.reverse(steps, [0]) if go_backwards else steps
        h, c = tf.scan(step, steps, (init_h, init_c))
        return h[-1], tf.transpose(h, [1, 0, 2]), h[-1], c[-1], tf.constant(0.0)

    marked = tf.function(
        standard_lstm,
        autograph=False,
        experimental_attributes={
            "api_implements": f"lstm_{uuid.uuid4()}",
            "api_preferred_device": "CPU",
            "time_major": False,
            "go_backwards": bool(go_backwards),
        },
    )
    weights = [tf.convert_to_tensor(w) for w in (kernel, recurrent_kernel, bias)]
    last, outputs, h, c, _ = marked(inputs, initial_state_h, initial_state_c, *weights)
    return last, outputs, [h, c]
