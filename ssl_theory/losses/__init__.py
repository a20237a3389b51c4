"""Self-supervised losses as pure functions `(*batch, n, J, d) -> (*batch)`, each tied to one latent-variable model.

One family a file: `instance`, `clustering`, `contrastive`, `redundancy`, `distillation`, `generative`; with `priors`
for `log p(z^{1:J})`, `decoders` for `log p(x|z)`, `critics` for scores, `state` for what is remembered between
batches. Members of a leading ensemble axis are independent, and nothing here waits for the device. `registry` lists
all losses.
"""
