"""What fairseq, and Hugging Face after it, call the weights of a layer."""

_WORDS = {
    "self_attention": "self_attn",
    "cross_attention": "encoder_attn",
    **{"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"},
    **{"inner": "fc1", "outer": "fc2"},
    "self_attention_norm": "self_attn_layer_norm",
    "cross_attention_norm": "encoder_attn_layer_norm",
    "feed_forward_norm": "final_layer_norm",
    "norm": "layer_norm",
}


def bart_name(name: str) -> str:
    """Return their name for a weight of ours below `encoder.` or `decoder.`."""
    parts = (part for part in name.split(".") if part != "feed_forward")
    return ".".join(_WORDS.get(part, part) for part in parts)
