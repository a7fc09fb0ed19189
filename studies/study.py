"""A study: one question, a base recipe, arms that change keys of it, seeds. Read from YAML, every key checked."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import yaml

HERE = Path(__file__).parent
QUESTIONS = HERE / "questions"
RECIPES = HERE / "recipes"
OF_THE_RUN = ("seeds", "judge", "train_file")  # keys of an arm that are none of the recipe


class StudyError(ValueError):
    """A study file that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Run:
    """One training run and its judgement. `recipe` is whole but for files and folders, which the runner fills in.

    `train_file` says how the training file is written where that is asked (`{quality: 50}`), `judge` which options the
    judge gets; its `module` names another program than `studies.judge`.
    """

    arm: str
    seed: int
    recipe: dict[str, Any]
    train_images: int | None
    judge: dict[str, Any]
    train_file: dict[str, Any] = field(default_factory=dict)

    @property
    def training(self) -> dict[str, Any]:
        """What makes two checkpoints the same checkpoint: it is not trained again for another judge."""
        return {
            "recipe": self.recipe,
            "seed": self.seed,
            "train_images": self.train_images,
            "train_file": self.train_file,
        }

    @property
    def key(self) -> dict[str, Any]:
        """What makes two runs the same run: a run that another study has done is not done again."""
        return {**self.training, "judge": self.judge}


def same(key: Mapping[str, Any], line: Mapping[str, Any]) -> bool:
    """Whether a line of the results is that of `key` (`Run.key` or `Run.training`); lines of plain files lack
    `train_file`."""
    return {name: line.get(name, {}) for name in key} == json.loads(json.dumps(key))


@dataclass(frozen=True)
class Study:
    """A question and the runs that answer it.

    Args:
        name: the file's, without its ending.
        question: one sentence.
        recipe: file of the base recipe, in `studies/recipes`.
        arms: keys that each arm changes; `{}` is the base recipe. Beside the recipe's keys an arm may have `seeds` of
            its own, options of the `judge`, and `train_file`, how the training file is written.
        seeds: of the runs; every arm without seeds of its own gets all of them.
        reference: the arm that differences are taken against.
        score: what they are differences of, a name in the judge's scores.
        answer: Markdown that the page says below the table, written after the runs.
        train_images: so many evenly spaced images of the training source are trained on; None takes all.
        judge: options of `studies.judge`, by name with underscores.
    """

    name: str
    question: str
    recipe: str
    arms: dict[str, dict[str, Any]]
    seeds: list[int]
    reference: str
    score: str = "linear"
    answer: str = ""
    train_images: int | None = None
    judge: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> Self:
        """The study of that name in `studies/questions`, or of a file's path.

        Raises:
            StudyError: there is no such file, a key is unknown or missing, or the reference is no arm.
        """
        path = Path(name) if name.endswith(".yaml") else QUESTIONS / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in QUESTIONS.glob("*.yaml")))
            raise StudyError(f"there is no study {path}; there are {known}")
        values = read_mapping(path)
        known_keys = {f.name for f in fields(cls)} - {"name"}
        for key in values:
            if key not in known_keys:
                raise StudyError(f"{path}: {key}: unknown key; a study has {', '.join(sorted(known_keys))}")
        for key in ("question", "recipe", "arms", "seeds", "reference"):
            if key not in values:
                raise StudyError(f"{path}: {key} is missing")
        study = cls(name=path.stem, **values)
        for arm in study.arms:
            if not isinstance(arm, str):
                raise StudyError(f"{path}: arms: {arm} is no text; YAML reads it as a number without quotes")
        if study.reference not in study.arms:
            raise StudyError(f"{path}: reference: {study.reference!r} is not one of {', '.join(study.arms)}")
        return study

    def runs(self) -> Iterator[Run]:
        """Seed by seed, so that the arms of one seed run side by side under the same load of the machine."""
        base = read_mapping(RECIPES / self.recipe)
        own = {arm: (changes or {}).get("seeds", self.seeds) for arm, changes in self.arms.items()}
        for seed in dict.fromkeys(seed for seeds in own.values() for seed in seeds):
            for arm, changes in self.arms.items():
                if seed in own[arm]:
                    keys = {key: value for key, value in (changes or {}).items() if key not in OF_THE_RUN}
                    judge, train_file = ((changes or {}).get(key, {}) for key in ("judge", "train_file"))
                    recipe = merged(base, keys)
                    yield Run(arm, seed, recipe, self.train_images, {**self.judge, **judge}, train_file)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`; a mapping changes single keys of a mapping (`model_overrides`), all else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        # A schedule is one thing: the keys of one kind mean nothing to another.
        whole = key == "resolution_schedule"
        result[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) and not whole else value
    return result


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file's keys and values.

    Raises:
        StudyError: there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise StudyError(f"there is no file {path}")
    values = yaml.safe_load(path.read_text())
    if not isinstance(values, dict):
        raise StudyError(f"{path}: expected keys and values")
    return values
