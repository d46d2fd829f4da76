"""YAML files a person writes: read, checked against a pydantic model, every error with file, line and remedy."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from cdp.errors import ConfigError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as quick; both build plain values only


def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """The tree, whose nodes know their lines, and what it stands for."""
    loader = LOADER(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def plain(text: str) -> Any:
    """What YAML stands for that the program ships itself."""
    return _parsed(text)[1]


class Mistakes(ValueError):
    """What a model's own check found in several places of a file: (place, what is wrong)."""

    def __init__(self, found: list[tuple[tuple[str | int, ...], str]]) -> None:
        super().__init__("; ".join(text for _, text in found))
        self.found = found


Model = TypeVar("Model", bound=BaseModel)


def load_yaml(path: Path, model: type[Model], base: str = "", docs: str = "docs/sources.md") -> Model:
    """Read and check one file.

    Args:
        path: The file.
        model: What it must be.
        base: YAML whose values hold where the file gives none.
        docs: Where its keys are explained.

    Raises:
        ConfigError: `file:line: where: what is wrong`, one line for each mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})", "save it as UTF-8 text") from error
    try:
        root, values = _parsed(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}", "mend that line") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1: expected a mapping of keys to values", f"see {docs} for an example")
    _refuse_true_keys(path, root)
    if "extends" in values:
        extended = path.with_name(f"{values.pop('extends')}.yaml")
        load_yaml(extended, model)  # its own mistakes are its own lines
        values = _merge(_parsed(extended.read_text(encoding="utf-8"))[1], values)
    if base:
        values = _merge(_parsed(base)[1], values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{path}:{_line(root, list(place))}: {_where(place)}: {text}"
            for item in error.errors()
            for place, text in _mistakes(item)
        ]
        raise ConfigError("\n".join(lines), f"mend these lines; {docs} explains every key") from error


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _mistakes(item: Any) -> list[tuple[tuple[str | int, ...], str]]:
    """(place, what is wrong) of one error of pydantic's; of several where the model looked at the whole."""
    raised = item.get("ctx", {}).get("error")
    return raised.found if isinstance(raised, Mistakes) else [(item["loc"], item["msg"])]


def _where(place: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in place) or "file"


def _line(node: yaml.Node | None, location: list[str | int]) -> int:
    """The line of the deepest node of this path that exists in the file."""
    line = node.start_mark.line + 1 if node else 1
    for part in location:
        child = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, child = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
            line = child.start_mark.line + 1
        if child is None:
            break
        node = child
    return line


def _refuse_true_keys(path: Path, node: yaml.Node | None) -> None:
    """YAML 1.1 turns the keys on, off, yes and no into booleans; say so instead of losing the key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:bool":
                where = f"{path}:{key.start_mark.line + 1}"
                raise ConfigError(f"{where}: YAML reads the key '{key.value}' as true or false", "put it in quotes")
            _refuse_true_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_true_keys(path, child)
