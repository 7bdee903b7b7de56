"""What is in a clip: people, objects, bodies of human measure, splits that share nobody."""

from __future__ import annotations

import numpy as np
import pytest

from mmcl_cache.demo.actions import CLASSES, TWO_PERSON
from mmcl_cache.demo.clips import TEST_SUBJECTS, ClipId, compose_clip, plan_clips
from mmcl_cache.demo.figure import BONES, draw_build, solve_joints, stand
from mmcl_cache.demo.render import Stage, render_frame

IDS = {clip.label: clip for clip in plan_clips(64)}


def test_plan_has_unique_ids_and_every_class_alike() -> None:
    ids = plan_clips(400)
    assert len(set(map(str, ids))) == 400
    assert set(np.bincount([clip.label for clip in ids])) == {25}


def test_longer_plan_contains_the_shorter_one() -> None:
    assert set(plan_clips(48)) <= set(plan_clips(400))


def test_cross_subject_tests_a_third() -> None:
    share = np.mean([clip.subject in TEST_SUBJECTS for clip in plan_clips(400)])
    assert 0.28 < share < 0.38


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_two_person_classes_and_no_others_have_two_people(label: int) -> None:
    assert compose_clip(IDS[label], 0).people == (2 if label in TWO_PERSON else 1)


def test_bones_keep_their_length_while_moving() -> None:
    clip = compose_clip(IDS[CLASSES.index("kick")], 0)
    joints = clip.stage.actors[0].joints
    limbs = [(c, p) for c, p in BONES if c in (5, 6, 9, 10, 13, 14, 17, 18)]
    for child, parent in limbs:
        lengths = np.linalg.norm(joints[:, child] - joints[:, parent], axis=1)
        assert np.ptp(lengths) < 1e-6


def test_standing_figure_has_its_feet_on_the_floor_and_its_head_on_top() -> None:
    joints = solve_joints(draw_build(np.random.default_rng(0)), stand(2))
    assert 0 < joints[0, [14, 18], 1].min() < 0.12
    assert joints[0, :, 1].argmax() == 3


@pytest.mark.parametrize("name", ["drink from a bottle", "read a book", "throw a ball", "carry a bag"])
def test_object_is_seen_near_the_hand(name: str) -> None:
    clip = compose_clip(IDS[CLASSES.index(name)], 0)
    track = clip.stage.tracks[0]
    hands = clip.stage.actors[0].joints[:, [7, 11]]
    nearest = np.linalg.norm(hands - track.centre[:, None], axis=2).min(1)
    assert nearest[track.in_hand].max() < 0.45
    bare = Stage(**{**vars(clip.stage), "tracks": ()})
    with_object, without = (np.asarray(render_frame(stage, 0), np.int16) for stage in (clip.stage, bare))
    assert (np.abs(with_object - without).max(2) > 30).sum() > 40


def test_clip_depends_on_seed_and_id_alone() -> None:
    one, other = (compose_clip(ClipId(1, 2, 1, 1, 5), 9) for _ in range(2))
    assert np.array_equal(one.reading.joints, other.reading.joints)
    assert render_frame(one.stage, 3).tobytes() == render_frame(other.stage, 3).tobytes()
