"""The demo's classes, each a motion program: style and randomness in, poses and held objects out.

Several pairs share one movement and differ in the object: drink and phone call, read and play with a phone, throw
and wave, carry a bag and walk, raise a ball and stretch, pick up a bag and bow, hand something over and shake hands.
Their hand targets overlap from person to person, so the skeleton alone decides them only in part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mmcl_cache.demo.figure import Pose, stand
from mmcl_cache.demo.motions import Style, blend, envelope, move_hand, smooth, sway_idly, walk_in_place
from mmcl_cache.demo.objects import Grip, Held

__all__ = ["ACTIONS", "CLASSES", "TWO_PERSON", "Performance", "perform"]


@dataclass(frozen=True)
class Performance:
    """What one or two people do in a clip, and what they hold."""

    poses: tuple[Pose, ...]
    held: tuple[Held, ...] = ()


Program = Callable[[np.random.Generator, Style, int], Performance]


def _hold(kind: str, hands: str, length: int) -> tuple[Held, ...]:
    return (Held(kind, (Grip(0, length, 0, hands),)),)


def _hand_to_head(rng: np.random.Generator, style: Style, length: int, goal: tuple[float, ...]) -> Pose:
    pose = sway_idly(rng, stand(length))
    weight = envelope(rng, length, style)
    aim = np.asarray(goal) + rng.normal(0, 0.06, 3)
    bob = 0.03 * np.sin(style.phase + np.linspace(0, 8 * style.tempo, length))
    pose = move_hand(pose, style.hand, aim + bob[:, None] * np.array([0.2, 1.0, 0.3]), weight)
    return replace(pose, nod=pose.nod + rng.normal(-0.05, 0.12) * weight)


def _drink(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance(
        (_hand_to_head(rng, style, length, (-0.22, 0.14, 0.38)),), _hold("bottle", style.hand, length)
    )


def _call(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance(
        (_hand_to_head(rng, style, length, (-0.04, 0.24, 0.22)),), _hold("phone", style.hand, length)
    )


def _hands_before_chest(rng: np.random.Generator, style: Style, length: int, gap: float, up: float) -> Pose:
    pose = sway_idly(rng, stand(length))
    weight = envelope(rng, length, style)
    gap, up, ahead = gap + rng.normal(0, 0.05), up + rng.normal(0, 0.08), rng.normal(0.55, 0.07)
    # `gap` is between the hands, in arm lengths; the shoulders are about 0.65 apart.
    goal = np.array([gap / 2 - 0.33, up, ahead])
    pose = move_hand(move_hand(pose, "left", goal, weight), "right", goal, weight)
    if rng.random() < 0.5:  # a page is turned, a screen is swiped
        u = np.linspace(0, 1, length)
        stroke = np.exp(-0.5 * ((u - rng.uniform(0.35, 0.7)) / 0.05) ** 2) * weight
        pose = move_hand(pose, style.hand, goal + np.array([-0.12, 0.06, -0.02]), stroke * style.amplitude)
    return replace(pose, nod=pose.nod + rng.normal(0.3, 0.1) * weight)


def _read(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance((_hands_before_chest(rng, style, length, 0.42, -0.28),), _hold("book", "both", length))


def _play(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance(
        (_hands_before_chest(rng, style, length, 0.22, -0.36),), _hold("phone", "both", length)
    )


def _swing_overhead(
    rng: np.random.Generator, style: Style, length: int, direction: float
) -> tuple[Pose, np.ndarray]:
    """One hand swings beside the head; direction 0 is sideways, pi/2 forwards. Pose and the swing's (T,) phase."""
    pose = sway_idly(rng, stand(length))
    weight = envelope(rng, length, style)
    turn = direction + rng.normal(0, 0.3)
    cycle = style.phase + np.linspace(0, 2 * np.pi * rng.uniform(1.3, 2.6) * style.tempo, length)
    swing = 0.32 * style.amplitude * np.sin(cycle)[:, None]
    goal = np.array([0.22, 0.55, 0.28]) + rng.normal(0, 0.08, 3)
    goal = goal + swing * np.array([np.cos(turn), -0.15, np.sin(turn)])
    return move_hand(pose, style.hand, goal, weight), cycle


def _throw(rng: np.random.Generator, style: Style, length: int) -> Performance:
    pose, cycle = _swing_overhead(rng, style, length, 1.35)
    late = np.arange(length) > 0.6 * length
    forward = np.flatnonzero(late & (np.sin(cycle) > 0.6) & (np.cos(cycle) > 0))
    stop = int(forward[0]) if len(forward) and rng.random() < 0.6 else length  # else only a feint
    return Performance((pose,), (Held("ball", (Grip(0, stop, 0, style.hand),)),))


def _wave(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance((_swing_overhead(rng, style, length, 0.2)[0],))


def _stroll(rng: np.random.Generator, style: Style, length: int, carrying: bool) -> Pose:
    pose = sway_idly(rng, stand(length))
    pose = replace(pose, yaw=pose.yaw + rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 1.0))
    loose = float(rng.uniform(0.05, 0.55) if carrying else rng.uniform(0.4, 1.1))
    other = float(rng.uniform(0.6, 1.2))
    pose = walk_in_place(pose, style, (loose, other) if style.hand == "left" else (other, loose))
    tilt = rng.normal(0.05, 0.035) if carrying else rng.normal(0, 0.035)
    return replace(pose, sway=pose.sway + (tilt if style.hand == "left" else -tilt))


def _carry(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance((_stroll(rng, style, length, True),), _hold("bag", style.hand, length))


def _walk(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance((_stroll(rng, style, length, False),))


def _hands_up(rng: np.random.Generator, style: Style, length: int, gap: float) -> Pose:
    pose = sway_idly(rng, stand(length))
    weight = envelope(rng, length, style)
    rest = np.array([-0.1, -0.35, 0.5]) + rng.normal(0, 0.08, 3)
    goal = np.array([(gap + rng.normal(0, 0.11)) / 2 - 0.33, 0.82, 0.2]) + rng.normal(0, 0.05, 3)
    path = blend(rest, goal, weight)
    early = smooth(np.linspace(0, 1, length) / 0.12) if not style.started else np.ones(length)
    pose = move_hand(move_hand(pose, "left", path, early), "right", path, early)
    return replace(pose, lean=pose.lean - 0.08 * weight, nod=pose.nod - 0.2 * weight)


def _raise_ball(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance((_hands_up(rng, style, length, 0.38),), _hold("ball", "both", length))


def _stretch(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance((_hands_up(rng, style, length, 0.74),))


def _lean_down(rng: np.random.Generator, style: Style, length: int, reach: float) -> tuple[Pose, np.ndarray]:
    pose = sway_idly(rng, stand(length))
    u = np.linspace(0, 1, length)
    middle, half = rng.uniform(0.38, 0.55), rng.uniform(0.22, 0.32) / style.tempo
    weight = smooth(1 - np.abs(u - middle) / half)
    depth = float(np.clip(0.85 + 0.3 * reach + rng.normal(0, 0.14), 0.5, 1.35))
    knees = float(np.clip(0.25 + 0.5 * reach + rng.normal(0, 0.2), 0.05, 1.2))
    bent = np.stack([0.5 * knees * weight, knees * weight], 1)
    goal = np.array(
        [0.0, 0.25 + rng.normal(0, 0.08), np.clip(0.6 + 0.35 * reach + rng.normal(0, 0.1), 0.3, 0.98)]
    )
    pose = move_hand(pose, style.hand, goal, weight)
    other = "left" if style.hand == "right" else "right"
    pose = move_hand(pose, other, goal + np.array([0.05, -0.3, -0.1]), weight)
    legs = replace(pose, left_leg=pose.left_leg + bent, right_leg=pose.right_leg + bent)
    return replace(legs, lean=legs.lean + depth * weight), weight


def _pick_up(rng: np.random.Generator, style: Style, length: int) -> Performance:
    pose, weight = _lean_down(rng, style, length, 0.85)
    taken = int(np.argmax(weight))
    return Performance((pose,), (Held("bag", (Grip(taken, length, 0, style.hand),)),))


def _bow(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance((_lean_down(rng, style, length, 0.1)[0],))


def _clap(rng: np.random.Generator, style: Style, length: int) -> Performance:
    pose = sway_idly(rng, stand(length))
    weight = envelope(rng, length, style)
    beat = np.abs(np.sin(style.phase + np.linspace(0, np.pi * rng.uniform(4, 7) * style.tempo, length)))
    apart = 0.05 + 0.38 * style.amplitude * beat
    goal = np.stack([apart / 2 - 0.33, np.full(length, -0.18), np.full(length, 0.55)], 1) + rng.normal(
        0, 0.06, 3
    )
    return Performance((move_hand(move_hand(pose, "left", goal, weight), "right", goal, weight),))


def _kick(rng: np.random.Generator, style: Style, length: int) -> Performance:
    pose = sway_idly(rng, stand(length))
    u = np.linspace(0, 1, length)
    middle = rng.uniform(0.4, 0.6)
    swing = np.exp(-0.5 * ((u - middle) / 0.09) ** 2) - 0.45 * np.exp(
        -0.5 * ((u - middle + 0.17) / 0.07) ** 2
    )
    leg = np.stack([1.15 * style.amplitude * swing, 0.1 + 0.9 * np.maximum(-swing, 0)], 1)
    pose = replace(pose, right_leg=leg) if style.hand == "right" else replace(pose, left_leg=leg)
    arms = np.array([0.5, -0.6, 0.1]) + rng.normal(0, 0.1, 3)
    pose = move_hand(move_hand(pose, "left", arms, np.abs(swing)), "right", arms, np.abs(swing))
    pose = replace(pose, lean=pose.lean - 0.15 * swing)
    # Some people kick with something in their hand, so that an object alone does not name the class.
    held = (
        _hold(str(rng.choice(["bottle", "phone", "ball"])), style.hand, length) if rng.random() < 0.3 else ()
    )
    return Performance((pose,), held)


def _two_reach(
    rng: np.random.Generator, style: Style, length: int, shake: float
) -> tuple[Pose, Pose, np.ndarray]:
    """Two people face each other and bring their right hands together; `shake` is how far these go up and down."""
    weight = envelope(rng, length, style)
    between = rng.uniform(0.95, 1.15)
    cycle = style.phase + np.linspace(0, 2 * np.pi * rng.uniform(2, 4) * style.tempo, length)
    shake = max(shake + float(rng.normal(0, 0.03)), 0.0) * style.amplitude
    lift = float(rng.normal(0, 0.08))
    poses = []
    for side in (-1.0, 1.0):
        pose = sway_idly(rng, stand(length))
        offset = np.array([side * between / 2, 0.0])
        pose = replace(pose, yaw=pose.yaw - side * (np.pi / 2 - 0.15), place=0.4 * pose.place + offset)
        goal = np.array([-0.2, -0.3 + lift, 0.72]) + rng.normal(0, 0.03, 3)
        goal = goal + np.stack([np.zeros(length), shake * np.sin(cycle), np.zeros(length)], 1)
        poses.append(move_hand(pose, "right", goal, weight))
    return poses[0], poses[1], weight


def _shake_hands(rng: np.random.Generator, style: Style, length: int) -> Performance:
    return Performance(_two_reach(rng, style, length, 0.10)[:2])


def _hand_over(rng: np.random.Generator, style: Style, length: int) -> Performance:
    giver, taker, weight = _two_reach(rng, style, length, 0.02)
    reached = np.flatnonzero(weight > 0.98)
    change = int(reached[len(reached) // 2]) if len(reached) else int(np.argmax(weight))
    change = int(np.clip(change, 1, length - 1))
    kind = str(rng.choice(["bottle", "book", "ball"]))
    return Performance(
        (giver, taker), (Held(kind, (Grip(0, change, 0, "right"), Grip(change, length, 1, "right"))),)
    )


# In label order: action number A001 is the first.
ACTIONS: dict[str, Program] = {
    "drink from a bottle": _drink,
    "make a phone call": _call,
    "read a book": _read,
    "play with a phone": _play,
    "throw a ball": _throw,
    "wave": _wave,
    "carry a bag": _carry,
    "walk": _walk,
    "raise a ball": _raise_ball,
    "stretch": _stretch,
    "pick up a bag": _pick_up,
    "bow": _bow,
    "clap": _clap,
    "kick": _kick,
    "shake hands": _shake_hands,
    "hand something over": _hand_over,
}
CLASSES = tuple(ACTIONS)
TWO_PERSON = (14, 15)  # labels, 0-based


def perform(label: int, rng: np.random.Generator, style: Style, length: int) -> Performance:
    """Play the program of a class (0-based label) for `length` frames."""
    return ACTIONS[CLASSES[label]](rng, style, length)
