"""YAML and overrides to a frozen recipe; every mistake named with its key."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from wd.config import (
    DecodingConfig,
    EvaluationConfig,
    GeneratorConfig,
    GroupingConfig,
    PseudoConfig,
    Recipe,
    load_recipe,
    overridden,
)
from wd.errors import ConfigError

YAML = """
name: test
source_language: en
target_language: de
teacher:
  shape: {encoder: {layers: 3}, decoder: {layers: 4}}
  training: {updates: 10}
students:
  tiny: {decoder: {layers: 1, d_model: 256, feed_forward: 1024}}
  small: {decoder: {layers: 2}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(YAML)
    return path


def test_an_override_changes_one_use_of_a_yaml_anchor(path: Path) -> None:
    text = YAML.replace("training: {", "training: &short {") + "fine_tuning: *short\n"
    path.write_text(text)
    recipe = load_recipe(path, ["fine_tuning.seed=2"])
    assert recipe.fine_tuning.updates == recipe.teacher.training.updates == 10
    assert (recipe.fine_tuning.seed, recipe.teacher.training.seed) == (2, 1)


def test_an_override_of_a_default_keeps_the_rest(path: Path) -> None:
    path.write_text("name: test\nsource_language: en\ntarget_language: de\n")
    recipe = load_recipe(path, ["students.tiny.decoder.heads=4"])
    assert set(recipe.students) == {"tiny", "small"}
    assert recipe.student_model.decoder.heads == 4
    assert recipe.student_model.decoder.d_model == 256


def test_yaml_then_overrides(path: Path) -> None:
    recipe = load_recipe(
        path, ["teacher.training.updates=200", "student=small", "corpus.train=['a.{lang}', b.tsv]"]
    )
    assert recipe.teacher.shape.encoder.layers == 3
    assert recipe.teacher.training.updates == 200
    assert recipe.student == "small"
    assert recipe.corpus.train == ("a.{lang}", "b.tsv")


def test_a_sweeps_changes_are_the_same_overrides(path: Path) -> None:
    typed = load_recipe(path, ["teacher.shape.decoder.layers=2", "generator.training.updates=7"])
    changes = {"teacher.shape.decoder.layers": 2, "generator.training.updates": 7}
    assert overridden(load_recipe(path), changes) == typed


def test_a_recipe_survives_its_own_dump(path: Path) -> None:
    recipe = load_recipe(path)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_a_column_may_be_a_number(path: Path) -> None:
    assert load_recipe(path, ["corpus.source_column=0"]).corpus.source_column == "0"


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such recipe file"):
        load_recipe(tmp_path)


def test_frozen(path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_recipe(path).teacher.training.updates = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("studnet=small", r"unknown key studnet; did you mean student\?"),
        (
            "teacher.training.update=1",
            r"unknown key teacher\.training\.update; did you mean teacher\.training\.updates\?",
        ),
        (
            "students.tiny.decoder.layer=1",
            r"unknown key students\.tiny\.decoder\.layer; did you mean .*layers\?",
        ),
        ("registry.qqq=1", r"unknown key registry\.qqq: it can be name, alias, min_bleu, gate$"),
        ("teacher.training.zzz=1", r"unknown key teacher\.training\.zzz: it can be updates, "),
        ("teacher.shape.encoder.heads=7", r"teacher\.shape\.encoder: .*512 / 7 leaves 1"),
        ("students.tiny.decoder.heads=5", r"256 / 5 leaves 1"),
        ("teacher.training.updates=0", r"teacher\.training\.updates: .*greater than or equal to 1"),
        ("teacher.training.updates=many", r"teacher\.training\.updates: .*integer"),
        ("student=huge", r"student: huge is not defined; the recipe has small, tiny"),
        ("teacher.shape.norm=around", r"teacher\.shape\.norm: .*'pre' or 'post'"),
        ("teacher.shape.tied_embeddings=all", r"encoder\.d_model is 512 and decoder\.d_model"),
        ("name.first=x", r"override name\.first: name is a single value"),
        ("student", r"override 'student': write it as key=value"),
        ("target_language=no", r"target_language: .*not False: YAML reads no.*; quote it"),
        ("corpus.train=text", r"corpus\.train: must be a list"),
        ("corpus.test=text", r"corpus\.test: must be a list"),
        ("corpus.test={news: text}", r"corpus\.test\.news: must be a list"),
        ("corpus.test={news: []}", r"corpus\.test: news names no files"),
        ("corpus.test={a/b: [text]}", r"corpus\.test\.a/b\.\[key\]: a name holds no"),
        ("evaluation.tests={news: []}", r"evaluation\.tests: news names no files"),
        ("teacher=big", r"teacher: must be a section of keys"),
        ("teacher.into=deu", r"teacher: into: it chooses .* set from"),
        ("name=a/b", r"name: "),
        ("name=..", r"name: "),
        ("students={a/b: {}}", r"students\.a/b"),
        ("root=", r"root: "),
        ("registry.alias=a b", r"registry\.alias: "),
        ("tracking.uri=None", r"tracking\.uri: to track nothing write none, not None"),
        ("pseudo.max_length=1025", r"pseudo\.max_length: .*1024"),
        ("pseudo.length_penalty=-1e300", r"pseudo\.length_penalty: .*greater than or equal to 0"),
        ("evaluation.length_penalty=1e9", r"evaluation\.length_penalty: .*less than or equal to 5"),
        ("evaluation.beam_size=1000", r"evaluation\.beam_size: .*less than or equal to 64"),
        ("pseudo.batch_tokens=10000000", r"pseudo\.batch_tokens: .*equal to 500000, or 'auto'$"),
        ("pseudo.n_best=8", r"pseudo: n_best: 8 translations need .*raise beam_size, which is 6"),
        (
            "pseudo={trim: 0.1, length_penalty: 0}",
            r"pseudo: trim: 0\.1 would leave out the longest",
        ),
        ("ray.gpu=maybe", r"ray\.gpu: Input should be a valid boolean, or 'auto', not 'maybe'$"),
        ("evaluation.speed_repeats=100000", r"evaluation\.speed_repeats: .*equal to 1000"),
        ("fine_tuning.adam_betas=[0.9, 1]", r"fine_tuning\.adam_betas\.1: .*less than 1"),
        ("objective.word_kd=.inf", r"objective\.word_kd: .*finite"),
        ("student=[", r"override 'student=\[': the value is not valid YAML"),
    ],
)
def test_a_mistake_is_named(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_recipe(path, [override])
    assert "pydantic" not in str(error.value)


def test_a_later_test_set_has_a_name_of_its_own(path: Path) -> None:
    named = ["corpus.test={news: ['n.{lang}'], talks: ['t.{lang}']}"]
    load_recipe(path, [*named, "evaluation.tests={web: ['w.{lang}']}"])
    for name in ("news", "talks"):
        with pytest.raises(ConfigError, match=f"{name} is a test set of the corpus already"):
            load_recipe(path, [*named, f"evaluation.tests={{{name}: ['w.{{lang}}']}}"])


@pytest.mark.parametrize(
    ("source", "target"),
    [("de", "de"), ("de", "deu"), ("ger", "de_DE"), ("zho_Hans", "cmn"), ("src", "SRC")],
)
def test_one_language_twice_is_refused(path: Path, source: str, target: str) -> None:
    languages = [f"source_language={source}", f"target_language={target}"]
    with pytest.raises(ConfigError, match=f"{source} and target_language {target} are the same"):
        load_recipe(path, languages)


@pytest.mark.parametrize(
    ("source", "target"),
    [("en_GB", "en_US"), ("zh_Hans", "zh_Hant"), ("zh", "yue"), ("nb", "nn"), ("source", "target")],
)
def test_two_languages_may_be_close_or_private(path: Path, source: str, target: str) -> None:
    recipe = load_recipe(path, [f"source_language={source}", f"target_language={target}"])
    assert (recipe.source_language, recipe.target_language) == (source, target)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["target_vocabulary_size=500"], "target_vocabulary_size: a joint tokenizer"),
        (["vocabulary_size=260"], "of 260 pieces 260 are set apart.*byte_fallback: false"),
        (["joint=false", "target_vocabulary_size=9"], "target_vocabulary_size: of 9 pieces 260"),
        (["byte_fallback=false", "vocabulary_size=4"], "of 4 pieces 4 are set apart"),
        (["vocabulary_size=1000000000000"], "vocabulary_size: .*less than or equal to 1000000$"),
        (["normalization=nfd"], "normalization: .*'identity', 'nfkc'"),
        (["user_symbols=[a b]"], "user_symbols: 'a b' cannot be one piece"),
        (["user_symbols=['']"], "user_symbols: '' cannot be one piece"),
        (["user_symbols=[</s>]"], "user_symbols: </s> is a special piece"),
        (["user_symbols=[<0x0A>]"], "user_symbols: <0x0A> is a special piece"),
        (["user_symbols=[x, x]"], "user_symbols: x is there twice"),
        (["character_coverage=0.97"], "character_coverage: .*greater than or equal to 0.98"),
    ],
)
def test_impossible_tokenizers_are_refused(path: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"tokenizer.*{said}"):
        load_recipe(path, [f"tokenizer.{override}" for override in overrides])


def test_models_have_each_side_s_vocabulary(path: Path) -> None:
    sizes = ["tokenizer.joint=false", "tokenizer.vocabulary_size=900"]
    one, two = (
        load_recipe(path, [*sizes, *more, "teacher.shape.tied_embeddings=decoder"])
        for more in ([], ["tokenizer.target_vocabulary_size=700"])
    )
    for model in (one.teacher_model, one.student_model):
        assert (model.source_vocabulary, model.target_vocabulary) == (900, 900)
    for model in (two.teacher_model, two.student_model):
        assert (model.source_vocabulary, model.target_vocabulary) == (900, 700)


@pytest.mark.parametrize("key", ["teacher.shape", "students.small"])
def test_one_table_needs_one_tokenizer(path: Path, key: str) -> None:
    two = ["tokenizer.joint=false", "students.tiny.tied_embeddings=none"]
    with pytest.raises(ConfigError, match=rf"{key}\.tied_embeddings: .*tokenizer\.joint: true"):
        load_recipe(path, [*two, f"{key}.tied_embeddings=all"])
    load_recipe(path, two)


@pytest.mark.parametrize("half", ["float16", "bfloat16", "int8_float16"])
@pytest.mark.parametrize("section", ["pseudo", "evaluation"])
def test_half_precision_is_for_gpus(path: Path, section: str, half: str) -> None:
    asked = f"{section}.quantization={half}"
    for gpu in ("true", "auto"):
        recipe = load_recipe(path, [f"ray.gpu={gpu}", asked])
        assert getattr(recipe, section).quantization == half
    with pytest.raises(
        ConfigError, match=rf"{section}\.quantization: {half} .* CPU.* ray\.gpu: true"
    ):
        load_recipe(path, ["ray.gpu=false", asked])
    for usable in ("auto", "float32", "int8"):
        load_recipe(path, ["ray.gpu=false", f"{section}.quantization={usable}"])


def test_auto_is_one_choice_whatever_a_machine_makes_of_it() -> None:
    auto = PseudoConfig()
    assert (auto.on("cpu").quantization, auto.on("cpu").batch_tokens) == ("float32", 4096)
    assert (auto.on("cuda").quantization, auto.on("cuda").batch_tokens) == ("float16", 16_384)
    given = PseudoConfig(quantization="int8", batch_tokens=100)
    assert given.on("cuda") == given.on("cpu") == given


def test_a_share_of_a_gpu_is_at_most_one(path: Path) -> None:
    assert load_recipe(path, ["ray.gpus_per_worker=0.25"]).ray.gpus_per_worker == 0.25
    for wrong in ("0", "2"):
        with pytest.raises(ConfigError, match=r"ray\.gpus_per_worker"):
            load_recipe(path, [f"ray.gpus_per_worker={wrong}"])


def test_both_ways_to_decode_have_the_same_settings() -> None:
    shared = DecodingConfig.model_fields
    for kind in (PseudoConfig, EvaluationConfig):
        assert {key: kind.model_fields[key].default for key in shared} == {
            key: field.default for key, field in shared.items()
        }


def test_a_preset_fills_an_object_as_it_fills_a_tree() -> None:
    subsets = (1, 2, 3)
    grouping = GroupingConfig(decoder_subsets=subsets)
    filled = GeneratorConfig(preset="reference", grouping=grouping)
    tree = {"preset": "reference", "grouping": {"decoder_subsets": subsets}}
    assert filled == GeneratorConfig.model_validate(tree)
    assert filled.grouping.sharing == "subset"


def test_what_is_given_beside_a_preset_stays_when_it_is_taken_back(path: Path) -> None:
    given = ["generator.preset=reference", "generator.grouping.sharing=subset"]
    found = load_recipe(path, [*given, "generator.preset=null"]).generator.grouping
    assert found == GroupingConfig(sharing="subset")
    found = overridden(load_recipe(path, given), {"generator.preset": None}).generator.grouping
    assert found == GroupingConfig(sharing="subset")


def test_compiled_layers_are_not_asked_for_their_states(path: Path) -> None:
    both = ["objective.hidden_states=1", "fine_tuning.compile=true"]
    with pytest.raises(ConfigError, match=r"leave it at 0, or set compile: false"):
        load_recipe(path, both)
    for one in both:
        load_recipe(path, [one])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not valid YAML"),
        (b"name: x\nname: y\n", "the key name is there twice"),
        (b"- a\n- b\n", "a recipe is a mapping of keys, not list"),
        (b"", "a recipe is a mapping of keys, not NoneType"),
        (b"name: \xff\xfe", "not valid YAML"),
        (b"name: x\n", "source_language: Field required"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        load_recipe(path)
    assert str(error.value).startswith(str(path))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such recipe file"):
        load_recipe(tmp_path / "missing.yaml")


def test_equal_updates_for_every_student(path: Path) -> None:
    recipe = load_recipe(path, ["generator.training.updates=30", "fine_tuning.updates=12"])
    for method in ("scratch", "kd", "copy"):
        assert recipe.student_training(method).updates == 42
    assert recipe.student_training("wd").updates == 12


def test_students_without_phase_1_start_like_it_and_go_on_like_phase_2(path: Path) -> None:
    changes = ["generator.training.warmup_updates=7", "fine_tuning.warmup_updates=3"]
    changes += ["fine_tuning.decay=linear", "fine_tuning.ema_decay=0.9"]
    recipe = load_recipe(path, changes)
    for method in ("scratch", "kd", "copy"):
        training = recipe.student_training(method)
        assert training.warmup_updates == 7
        assert (training.decay, training.ema_decay) == ("linear", 0.9)


def test_a_preset_fills_what_is_not_given(path: Path) -> None:
    changes = ["generator.preset=reference", "generator.initialisation.maps=svd"]
    generator = load_recipe(path, changes).generator
    assert (generator.grouping.sharing, generator.grouping.layer_map) == ("subset", "factored")
    assert (generator.initialisation.maps, generator.initialisation.gate) == ("svd", "reference")
    assert generator.training == load_recipe(path).generator.training


def test_a_preset_can_be_taken_back(path: Path) -> None:
    given = load_recipe(path, ["generator.preset=reference", "generator.initialisation.maps=svd"])
    found = overridden(given, {"generator.preset": None}).generator
    assert found == load_recipe(path, ["generator.initialisation.maps=svd"]).generator
    assert overridden(given, {"student": "tiny"}).generator == given.generator


def test_a_student_that_cannot_be_is_named(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"students\.tiny: heads must divide d_model, but 250"):
        load_recipe(path, ["students.tiny.decoder.d_model=250"])


def test_a_corpus_that_is_all_held_out_is_refused(path: Path) -> None:
    fractions = ["corpus.valid_fraction=0.6", "corpus.test_fraction=0.5"]
    with pytest.raises(ConfigError, match=r"valid_fraction 0\.6 and test_fraction 0\.5 hold out"):
        load_recipe(path, fractions)
    assert load_recipe(path, [*fractions, "corpus.test=[a.tsv]"]).corpus.test == ("a.tsv",)
