"""FastSAC's update in PyTorch, as holosoma does it: the peer of `fast_sac_update.py`.

Written from the description of its behaviour (networks, losses, AdamW, order of steps, what is logged of
every update), without waste that PyTorch would not force on it: the actor's step computes no gradients of
the critics' parameters, the two critics' targets share their atoms' positions, and optimisers take
PyTorch's fused step. Norms of gradients are not taken: holosoma logs 0 where there is no limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def _trunk(width: int, hidden: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for out in (hidden, hidden // 2, hidden // 4):
        layers += [nn.Linear(width, out), nn.LayerNorm(out), nn.SiLU()]
        width = out
    return layers


class Actor(nn.Module):
    """Mean and log std heads on one trunk, squashed to `scale`."""

    def __init__(self, obs: int, actions: int, hidden: int, scale: torch.Tensor) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*_trunk(obs, hidden))
        self.mean, self.log_std = nn.Linear(hidden // 4, actions), nn.Linear(hidden // 4, actions)
        self.register_buffer("scale", scale)

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A drawn action for each row of `obs`, its log density, and the logarithm of the spread."""
        z = self.trunk(obs)
        log_std = -5.0 + 2.5 * (torch.tanh(self.log_std(z).float()) + 1.0)
        mean = self.mean(z).float()
        noise = torch.randn_like(mean)
        squashed = torch.tanh(mean + log_std.exp() * noise)
        log_prob = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
        log_prob = log_prob - torch.log(1.0 - squashed**2 + 1e-6) - torch.log(self.scale + 1e-6)
        return squashed * self.scale, log_prob.sum(-1), log_std


def make(
    sizes: Any, batch: dict[str, torch.Tensor], device: str, compiled: bool, autocast: bool
) -> Callable[[], None]:
    """One call of the peer: `sizes.updates` updates on `batch` [U, B, ...], one actor step every fourth.

    With `autocast` the losses are computed under PyTorch's autocast to bfloat16, as holosoma trains:
    linear layers in bfloat16; layer norms, softmax and logarithms in float32.
    """
    torch.manual_seed(0)
    actor = Actor(sizes.actor_obs, sizes.actions, sizes.actor_hidden, torch.full((sizes.actions,), 4.0))
    inputs = sizes.critic_obs + sizes.actions

    def critic() -> nn.Module:
        return nn.Sequential(
            *_trunk(inputs, sizes.critic_hidden), nn.Linear(sizes.critic_hidden // 4, sizes.atoms)
        )

    critics, target = (nn.ModuleList(critic() for _ in range(2)) for _ in range(2))
    target.load_state_dict(critics.state_dict())
    actor, critics, target = actor.to(device), critics.to(device), target.to(device).requires_grad_(False)
    log_alpha = torch.tensor(math.log(1e-3), device=device, requires_grad=True)
    adamw = {"lr": 3e-4, "betas": (0.9, 0.95), "weight_decay": 1e-3, "fused": True}
    steps = {
        "actor": torch.optim.AdamW(actor.parameters(), **adamw),
        "critics": torch.optim.AdamW(critics.parameters(), **adamw),
        "alpha": torch.optim.AdamW([log_alpha], **adamw),
    }
    support = torch.linspace(-20.0, 20.0, sizes.atoms, device=device)
    spacing = 40.0 / (sizes.atoms - 1)

    def step(name: str, loss: torch.Tensor) -> None:
        steps[name].zero_grad(set_to_none=True)
        loss.backward()
        steps[name].step()

    def project(probs: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        low = position.floor().clamp(0, sizes.atoms - 2)
        share = position - low
        out, low = torch.zeros_like(probs), low.long()
        out.scatter_add_(1, low, probs * (1.0 - share))
        return out.scatter_add_(1, low + 1, probs * share)

    @torch.autocast(device, torch.bfloat16, enabled=autocast)
    def critic_loss(rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            following, log_prob, _ = actor(rows["next_actor_obs"])
            reward = rows["reward"] - rows["discount"] * log_alpha.exp() * log_prob
            atoms = (reward[:, None] + rows["discount"][:, None] * support).clamp(-20.0, 20.0)
            position = (atoms + 20.0) / spacing
            x = torch.cat([rows["next_critic_obs"], following], -1)
            wanted = [project(net(x).float().softmax(-1), position) for net in target]
            values = torch.stack([(probs * support).sum(-1) for probs in wanted])
            logged = values.max(), values.min(), rows["reward"].mean(), log_alpha.exp()
        x = torch.cat([rows["critic_obs"], rows["action"]], -1)
        losses = [
            -(w * F.log_softmax(net(x).float(), -1)).sum(-1).mean()
            for w, net in zip(wanted, critics, strict=True)
        ]
        return losses[0] + losses[1], log_prob, *logged

    @torch.autocast(device, torch.bfloat16, enabled=autocast)
    def actor_loss(rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        action, log_prob, log_std = actor(rows["actor_obs"])
        x = torch.cat([rows["critic_obs"], action], -1)
        value = torch.stack([(net(x).float().softmax(-1) * support).sum(-1) for net in critics]).mean(0)
        loss = (log_alpha.exp().detach() * log_prob - value).mean()
        return loss, -log_prob.detach().mean(), log_std.detach().exp().mean()

    if compiled:
        critic_loss, actor_loss = torch.compile(critic_loss), torch.compile(actor_loss)

    def call() -> None:
        metrics: list[list[torch.Tensor]] = []
        policy_loss, policy_logged = torch.zeros((), device=device), [torch.zeros((), device=device)] * 2
        for i in range(sizes.updates):
            rows = {name: x[i] for name, x in batch.items()}
            loss, log_prob, *logged = critic_loss(rows)
            step("critics", loss)
            dual = -(log_alpha.exp() * log_prob.detach()).mean()
            step("alpha", dual)
            if i % 4 == 1:
                critics.requires_grad_(False)
                policy_loss, *policy_logged = actor_loss(rows)
                step("actor", policy_loss)
                critics.requires_grad_(True)
            with torch.no_grad():
                torch._foreach_lerp_(list(target.parameters()), list(critics.parameters()), 0.125)
            metrics.append([x.detach() for x in (loss, dual, policy_loss, *logged, *policy_logged)])
        for values in zip(*metrics, strict=True):
            torch.stack(values).mean()
        if device != "cpu":
            torch.cuda.synchronize()

    return call
