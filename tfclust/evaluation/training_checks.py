"""What protocols that train a network refuse, before TensorFlow is loaded."""


def check_span(config, name):
    """Raises ValueError if a pair's smallest value exceeds its largest."""
    low, high = getattr(config, name)
    if low > high:
        raise ValueError(
            f"{name} needs smallest <= largest. Received: {low},{high}."
        )


def check_rates(config, rate, head_rate):
    """Raises ValueError if neither the network nor its head would learn.

    Args:
      config: a dataclass. rate, head_rate: names of its two learning rates.
    """
    if not getattr(config, rate) and not getattr(config, head_rate):
        raise ValueError(
            f"{rate} and {head_rate} must not both be 0, or nothing is "
            "trained. Received: 0 and 0. Give one of them."
        )


def check_trainable(protocol, network):
    """Refuses a function of images, which cannot be trained.

    Args:
      protocol: str, its name. network: `Network`.
    """
    if network.keras_model is None:
        raise ValueError(
            f"the protocol {protocol} trains a copy of the network. Received: "
            "a function of images. Give evaluation.keras_network(model), or "
            f"leave {protocol} out of protocols."
        )
