"""The glossary of the lesson."""

from __future__ import annotations

TERMS = {
    "learning rate": (
        "What the gradient is multiplied with before it is taken off the parameters: the "
        "length of a step. Too low, it crawls; too high, it jumps ever further away."
    ),
    "epoch": (
        "One pass through all examples of the training set. With mini-batches it has as many "
        "steps as there are batches."
    ),
    "mini-batch": (
        "A random handful of examples from which one step's gradient is computed, in place of "
        "all of them."
    ),
    "SGD": (
        "Stochastic gradient descent: [[gradient]] descent in which each step sees one "
        "[[mini-batch]], so that its direction is right on average, and cheap."
    ),
    "architecture": (
        "The form of the function that is fitted: which operations stand in which order. A "
        "line is one, a ResNet34 another; it has no numbers of its own."
    ),
    "parameters": (
        "The numbers that an [[architecture]] leaves open and that fitting finds: 2 of a "
        "line, 21 million of a ResNet34. Also called coefficients or weights."
    ),
    "loss": (
        "A number that says how far the answers are from what they should be. It must fall "
        "smoothly as they get better, since the [[gradient]] is taken of it."
    ),
    "gradient": (
        "How much the [[loss]] rises for a small rise of each parameter. Against it, it falls "
        "fastest."
    ),
    "metric": (
        "What people want to know, such as accuracy. It is looked at, not descended on: small "
        "changes of the parameters often leave it where it is."
    ),
    "training set": ("The examples that the parameters are fitted to."),
    "validation set": (
        "Examples that the parameters are not fitted to, by which one sees whether what was "
        "learned holds elsewhere."
    ),
    "underfitting": (
        "The function cannot follow, or has not followed yet, what the examples show: the "
        "training loss itself is high. A training loss <em>higher</em> than that of "
        "validation means that training has not gone on long enough, or at too low a rate."
    ),
    "overfitting": (
        "The function follows its training set so closely that it does worse elsewhere: the "
        "<em>validation metric gets worse</em> with more training. That the training loss "
        "lies below that of validation is no sign of it."
    ),
    "regularisation": (
        "Whatever makes large or wild parameters costly while fitting, such as weight decay: "
        "the cure for [[overfitting]] that leaves the [[architecture]] as it is."
    ),
    "MSE": (
        "Mean squared error: the mean of the squared differences between answers and targets. "
        "The usual loss where the answer is a number; its root, the RMSE, has the unit of the "
        "answer."
    ),
    "cross-entropy": (
        "Minus the logarithm of the probability that was given to what is true, averaged: the "
        "usual loss where the answer is a class."
    ),
    "softmax": (
        "Turns one number for each class into probabilities: the exponential of each, divided "
        "by their sum."
    ),
    "tensor": (
        "Numbers in a box with so many axes: a vector has one, a matrix two, a colour picture "
        "three. The number of axes is its rank."
    ),
    "convolution": (
        "Each place of a picture becomes the sum of its surroundings, each times its number "
        "in a small square of numbers, the kernel. The same kernel is laid on every place."
    ),
    "unit": ("One channel of what a layer gives: the same detector at every place of the picture."),
    "logit": ("The number that a model gives to a class, before [[softmax]]."),
    "dropout": "Leaving out random features at each step of training, so that none is relied on.",
    "ReLU": (
        "The function that leaves positive numbers as they are and makes others 0. What a "
        "network has between its linear layers, without which they would collapse into one."
    ),
}


def anchor(term: str) -> str:
    """Its place on the page. Raises KeyError where the glossary lacks it."""
    if term not in TERMS:
        raise KeyError(f"the glossary has no {term!r}")
    return term.lower().replace(" ", "-")
