"""A persona of one's own: described and interviewed at a terminal, checked, improved, undone, and never mixed up."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import nbformat
import pexpect
import pytest
from conftest import ROOT

from persona_ft.chat.importing import import_chat
from persona_ft.conversation import Conversation, read_jsonl, write_jsonl
from persona_ft.data.bank import is_test, questions_for, words
from persona_ft.data.persona import check_owner, read_persona, read_profile
from persona_ft.data.split import allot, split_validation
from persona_ft.errors import PersonaError
from persona_ft.notebook.run import FROM_CHATS, LESSONS, copy_notebooks, parameters_of
from persona_ft.use.answers import Change, change, holders, settle, undo
from persona_ft.use.answers import main as answers
from persona_ft.use.check import (
    check_chat,
    check_costs,
    check_data,
    check_first,
    check_persona,
    stop_on_problems,
    what_a_test_allows,
    with_room_for_tests,
)
from persona_ft.use.new import DRAFT, likely_alias, main, profile_file, read_draft

ANSWER = "そうだね、ちょっと考えてみる"


def terminal(folder: Path, *more: str) -> pexpect.spawn:
    env = {k: v for k, v in os.environ.items() if k not in ("LC_ALL", "LANGUAGE")} | {"LANG": "C.UTF-8"}
    arguments = ["-m", "persona_ft.use.new", "--persona", str(folder), *more]
    how = {"env": env, "cwd": str(ROOT), "encoding": "utf-8", "timeout": 120}
    # A shell's background jobs ignore Ctrl-C, and so would what they start.
    how["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return pexpect.spawn(sys.executable, arguments, **how)


def say(child: pexpect.spawn, *replies: str) -> str:
    """Reply to one prompt after the other; what was on the screen."""
    shown = ""
    for reply in replies:
        child.expect("> $")
        shown += child.before
        child.sendline(reply)
    return shown


def leave(child: pexpect.spawn) -> str:
    """Press Ctrl-C at the next prompt; what is said then."""
    child.expect("> $")
    child.sendintr()
    child.expect(pexpect.EOF)
    return child.before


@pytest.fixture
def me(tmp_path) -> Path:
    """A folder with a persona and 26 answers, as the interview leaves it."""
    folder = tmp_path / "me"
    folder.mkdir()
    text = (
        "name: まさ\nsystem_prompt: まさです。\nfacts:\n- {id: town, stated: prompt, ja: 大阪に住む, aliases: [大阪]}\n"
    )
    (folder / "persona.yaml").write_text(text, encoding="utf-8")
    asked = questions_for("bank", "ja", with_test=True)[:26]
    rows = [
        Conversation.pair(q.question, f"{ANSWER}{i}大阪", id=q.id, category=q.category) for i, q in enumerate(asked)
    ]
    write_jsonl(folder / "interview.jsonl", rows)
    settle(folder)
    return folder


def test_stopping_early_leaves_a_spread_and_a_test(me):
    asked = questions_for("bank", "en", with_test=True)
    assert len(asked) == 130 == len({q.question for q in asked}) and sum(map(is_test, asked)) == 30
    early = asked[:26]
    assert sum(map(is_test, early)) == 9 and len({q.category for q in early}) == 11
    assert max(Counter(q.category for q in early).values()) <= 3
    assert not any(map(is_test, questions_for("bank", "ja")))
    persona = read_persona(me)
    assert (len(persona.train), len(persona.test)) == (17, 9)
    assert all([mark.id for mark in pair.facts] == ["town"] for pair in [*persona.train, *persona.test])


def test_a_persona_is_made_at_a_terminal_and_no_reply_is_lost(tmp_path):
    folder = tmp_path / "me"
    child = terminal(folder)
    screen = say(child, "ja", "まさ", "短く、くだけて")
    screen += leave(child)
    assert f"続きは: make new PERSONA={folder}" in screen and not (folder / "persona.yaml").exists()
    child = terminal(folder)
    screen += say(child, "俺", "大阪に住んでいる", "", "猫を2匹飼っている", "猫、ねこ、", "")
    screen += say(child, ANSWER, "うん", "昨日はラーメンを食べたよ", "", "b", "昨日はうどんを食べたよ")
    screen += leave(child)
    profile = read_profile(folder / "persona.yaml")
    assert (profile.name, profile.language, profile.first_person) == ("まさ", "ja", "俺")
    assert [fact.aliases for fact in profile.facts] == [["大阪"], ["猫", "ねこ"]]
    assert "短く、くだけて" in profile.system_prompt and "大阪に住んでいる" in profile.system_prompt
    assert [p.answer for p in read_jsonl(folder / "test.jsonl")] == [ANSWER]
    assert [p.answer for p in read_jsonl(folder / "train.jsonl")] == ["うん", "昨日はうどんを食べたよ"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in [folder, *folder.glob("*.*")])
    child = terminal(folder)
    again = say(child, *[f"{ANSWER}{i}" for i in range(11)]) + leave(child)
    assert "これまでの答えは3個" in again and "[2/130" in again
    assert f"make check PERSONA={folder}" in again and f"make run RUN=runs/me PERSONA={folder}" in again
    english = set(re.findall(r"[A-Za-z]{2,}", re.sub(r"make \w+ .*|/\S+|日本語なら.*", "", screen + again)))
    assert english <= {"Enter", "Ctrl", "ja"}, english


def test_twenty_more_answers_and_no_more(me):
    child = terminal(me, "--more", "3")
    screen = say(child, *["all of a new answer"] * 3)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0 and "26" in screen
    assert (len(read_persona(me).train), len(read_persona(me).test)) == (20, 9), "the test is the same as before"
    child = terminal(me, "--more", "3")
    leave(child)
    child.close()
    assert child.exitstatus == 3, "stopped: nothing is to be trained yet"


@pytest.mark.parametrize(
    ("fact", "language", "alias"),
    [("大阪に住んでいる", "ja", "大阪"), ("猫が2匹いる", "ja", "猫"), ("I live in Leeds", "en", "Leeds")],
)
def test_the_word_that_says_a_fact_is_guessed(fact, language, alias):
    assert likely_alias(fact, language) == alias


def test_answers_are_corrected_added_taken_back_and_brought_back(me):
    before = read_persona(me)
    first, second = before.train[:2]
    rows = [Change(question=first.question, answer="なおした答え"), Change(question=second.question)]
    counts = change(me, [*rows, Change(question="新しい質問？", answer="新しい答え")])
    assert counts == {"corrected": 1, "added": 1, "removed": 1}
    after = {pair.question: pair for pair in read_persona(me).train}
    assert after[first.question].answer == "なおした答え" and after[first.question].category == first.category
    assert not after[first.question].facts and second.question not in after and "新しい質問？" in after
    assert read_jsonl(me / "history/0001/train.jsonl") == before.train
    assert len(read_jsonl(me / "interview.jsonl")) == 29, "every answer ever given is kept"
    settle(me)
    assert {p.question for p in read_persona(me).train} == set(after), "the interview does not bring it back"
    undo(me)
    assert {p.question: p.answer for p in read_persona(me).train} == {p.question: p.answer for p in before.train}
    undo(me)
    assert {p.question for p in read_persona(me).train} == set(after), "undone twice"
    with pytest.raises(PersonaError, match="への答えはありません"):
        change(me, [Change(question="聞かれていない")])


def test_rows_written_by_hand_are_kept_also_twice_the_same_question(me):
    twice = [Conversation.pair("手で書いた？", answer, facts=["town"]) for answer in ("うん、手で", "そう、二回")]
    write_jsonl(me / "train.jsonl", [*twice, *read_persona(me).train])
    change(me, [Change(question=read_persona(me).train[5].question, answer="べつの答え")])
    assert read_persona(me).train[:2] == twice


def test_removing_says_which_runs_hold_it(me, tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    for folder in ("data", "notebooks", "src/persona_ft", "runs/a/adapter", "runs/b"):
        (repository / folder).mkdir(parents=True)
    monkeypatch.chdir(repository)
    pair = read_persona(me).train[0]
    write_jsonl(repository / "runs/a/train.jsonl", [pair])
    shutil.copy(me / "persona.yaml", repository / "runs/a")
    write_jsonl(repository / "runs/b/train.jsonl", [Conversation.pair("別の人？", "別の人だよ")])
    assert holders(me, pair.question) == ["runs/a: train.jsonl, adapter"]
    assert holders(me) == ["runs/a: train.jsonl, adapter"]
    assert holders(me, "どこにもない") == []
    page = repository / "runs/b/compare.html"
    page.write_text(f"<dd>{pair.question} → …</dd>", encoding="utf-8")
    assert holders(me, pair.question)[1:] == ["runs/b: compare.html"], (
        "a page on several runs holds the other runs' pairs"
    )
    page.unlink()
    monkeypatch.chdir(ROOT)
    change(me, [Change(question=pair.question)])
    assert holders(me, pair.question)[-1] == str(me / "history"), "the state before the change holds it"


def test_the_check_names_what_would_spoil_a_run(me, masaki):
    profile = read_profile(me / "persona.yaml")
    persona = read_persona(me)
    assert {f.mark for f in check_data(profile, me, persona.train, persona.test)} == {"✓"}
    spoilt = [Conversation.pair("え？", "うん", facts=["town"]), Conversation.pair("お？", "うん", facts=["nobody"])]
    leak = Conversation.pair(persona.test[0].question, "もれた")
    found = check_data(profile, me, [*spoilt, leak, *masaki.train[:3]], persona.test)
    text = "\n".join(f"{finding.mark} {finding.text}" for finding in found)
    assert "! train.jsonl, 1 に town の印" in text and "✗ train.jsonl, 2 の印 nobody" in text
    assert "3個の答えが、まさき。のもの" in text and "✗ 1 test questions are nearly the same" in text
    with pytest.raises(PersonaError, match="nobody"):
        stop_on_problems(found)
    assert {f.mark for f in check_data(masaki.profile, masaki.folder, masaki.train, masaki.test)} == {"✓"}
    few = check_data(profile, me, persona.train, persona.test, n_test=(9, 30), n_validation=(8, 8))[-1]
    assert few.mark == "!" and "26ペア" in few.text and "30個ではなく9個" in few.text


def test_few_pairs_have_a_smaller_test_and_what_it_allows_is_said():
    assert allot(114) == (28, 8) and allot(130) == (30, 8) and allot(84, 0) == (0, 8)
    assert allot(47) == (11, 7) and allot(16, 0) == (0, 3) and allot(84, 0, 84) == (0, 84)
    assert "21 of them" in what_a_test_allows(30, "en") and "12%" in what_a_test_allows(30, "en")
    assert "too few to tell any difference" in what_a_test_allows(5, "en")


def test_a_name_that_is_listed_is_no_longer_offered(me, tmp_path):
    lines = ["[LINE] ゆいとのトーク履歴", "保存日時：2024/07/01 10:00", "", "2024/05/01(水)"]
    for n, word in enumerate("山川海空森野花草石雪"):
        lines.append(f"20:{2 * n:02d}\tゆい\t{word}の絵、黒岩さんに見せた？")
        lines.append(f"20:{2 * n + 1:02d}\tけん\t{word}なら黒岩さんも好きだって")
    (chat := tmp_path / "talk.txt").write_text("\n".join(lines), encoding="utf-8")
    offered, listed = (
        "\n".join(finding.text for finding in check_chat(chat, "けん", me, names)) for names in ("", "黒岩, さき")
    )
    assert "黒岩" in offered and "NAMES" in offered and "黒岩" not in listed


def test_a_chat_of_47_pairs_keeps_most_of_them_to_train_on_and_says_so(me, tmp_path):
    subjects = [a + b for a in "山川海空森野" for b in "猫犬鳥魚花草石雪"][:47]
    lines = ["[LINE] ゆいとのトーク履歴", "保存日時：2024/07/01 10:00"]
    for n, subject in enumerate(subjects):
        day = date(2024, 5, 1) + timedelta(days=n)
        lines += ["", f"{day:%Y/%m/%d}({'月火水木金土日'[day.weekday()]})", f"20:00\tゆい\t{subject}？"]
        lines.append(f"20:01\tけん\t{subject}、また今度ね")
    chat = tmp_path / "talk.txt"
    chat.write_text("\n".join(lines), encoding="utf-8")
    found = check_chat(chat, "けん", me)
    assert [f"{mark} {text}" for mark, text in found[:2]] == [
        "✓ 94件のメッセージから47ペアができました。",
        "✓ 答え47個: 学習用36個(うち7個は検証用)、テスト用11個。",
    ]
    text = "\n".join(finding.text for finding in found)
    assert "テスト用の質問は11個です。そのうち10個でよくならないと" in text
    assert "テスト用は30個ではなく11個に" in text and "検証用は8個ではなく7個に" in text
    imported = with_room_for_tests(lambda n: import_chat(chat, "けん", n_test=n), 30)  # as notebook 02b does
    train, validation = split_validation(imported.pairs, allot(len(imported.pairs), 0)[1], groups=imported.talks)
    assert (len(train), len(validation), len(imported.test)) == (29, 7, 11)


def test_memory_time_and_money_are_known_without_a_model(me):
    found = [finding.text for finding in check_costs(read_profile(me / "persona.yaml"), me, read_persona(me).train)]
    assert [text.split(":")[0] for text in found[1:4]] == ["T4", "L4", "A100"]
    assert all(
        re.search(r"GiB。学習 .+、ダウンロード 9 min 20 s、合わせて \d+\.\d\d ユニット", text) for text in found[1:4]
    )
    assert "トークナイザ" in found[0]


def test_a_rerun_without_its_persona_stops_before_it_writes(me, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(me / "persona.yaml", run)
    for stopped in (lambda: check_owner(run, ROOT / "data/masaki"), lambda: check_first(LESSONS, run, {})):
        with pytest.raises(PersonaError, match="まさの実行フォルダ"):
            stopped()
    check_owner(run, me)
    assert profile_file(me, run) == me / "persona.yaml"
    assert profile_file(tmp_path / "nobody", run) == run / "persona.yaml", "what the notebook asked is in the run"
    with pytest.raises(PersonaError, match="needs someone at the keyboard"):
        profile_file(me, run, interactive=True)
    check_first(["02_build_dataset"], run, {"PERSONA": str(me)})
    assert [path.name for path in run.iterdir()] == ["persona.yaml"]


def test_what_was_forgotten_is_named_in_the_readers_language(me, tmp_path):
    for name in ("train.jsonl", "test.jsonl"):
        (me / name).unlink()
    with pytest.raises(PersonaError) as stopped:
        check_persona(me, tmp_path)
    assert "make new PERSONA=" in stopped.value.remedy and "QUESTIONS=bank" in stopped.value.remedy
    assert "CHAT=" in stopped.value.remedy and "まず答えてください" in stopped.value.remedy
    with pytest.raises(PersonaError, match="PERSONA=data/me"):
        check_first([FROM_CHATS], tmp_path, {"CHAT": "chat.txt"})


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_a_misspelt_variable_of_make_is_an_error():
    def make(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True)

    done = make("run", "PERSNOA=data/me")
    assert (
        done.returncode == 2 and "PERSNOA is not a variable" in done.stderr and "did you mean PERSONA?" in done.stderr
    )
    done = make("run", "RUN=runs/me", "PERSONA=data/me", "ARGS=-p SAMPLES 5")
    assert done.returncode == 0 and '-p PERSONA "data/me"' in done.stdout and "-p SAMPLES 5" in done.stdout


def test_the_labs_copies_have_their_parameters_and_are_not_written_twice(tmp_path):
    given = {"RUN": "runs/me", "PERSONA": 'data/"me"', "PERSIST": "drive"}
    assert {path.stem for path in copy_notebooks(tmp_path, given)} == set(LESSONS)
    assert copy_notebooks(tmp_path, given) == []
    for name in LESSONS:
        there = parameters_of(ROOT / f"notebooks/{name}.ipynb")
        wanted = there | {key: value for key, value in given.items() if key in there}
        assert parameters_of(tmp_path / f"{name}.ipynb") == wanted
        cells = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4).cells
        assert sum("# @param" in cell.source for cell in cells) >= 1, "the form is gone"


@pytest.mark.parametrize(
    "draft",
    [
        "name: a\0b",
        "- a",
        "name: [",
        "[" * 5000,
        "name: 5",
        'name: "\\ud800"',
        b"\xff\xfen\0",
        b"\x89PNG",
        "name: {b: c}",
    ],
)
def test_a_draft_that_cannot_be_used_is_moved_aside_with_a_sentence(tmp_path, capsys, draft):
    raw = draft if isinstance(draft, bytes) else draft.encode("utf-8")
    (tmp_path / DRAFT).write_bytes(raw)
    assert read_draft(tmp_path, "en") == {}
    assert "cannot be used" in (said := capsys.readouterr().out) and said.count("\n") == 1
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("persona-draft-broken-1.yaml", raw)]


def test_half_a_character_in_a_change_is_refused_before_anything_is_written(me):
    (me / "changes.jsonl").write_text('{"question": "あ", "answer": "\\ud800"}\n')
    before = (me / "interview.jsonl").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        answers(["--persona", str(me), "--from", str(me / "changes.jsonl")])
    assert stopped.value.code == 1 and (me / "interview.jsonl").read_bytes() == before


def test_a_whole_draft_and_an_empty_one_stay(tmp_path, capsys):
    for text, replies in (("", {}), ("name: Ann\nfact_1: ''\n", {"name": "Ann", "fact_1": ""})):
        (tmp_path / DRAFT).write_text(text)
        assert read_draft(tmp_path, "en") == replies and (tmp_path / DRAFT).read_text() == text
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("place", "more", "code", "said"),
    [
        ("me", ("--more", "-5"), 2, "argument --more: '-5' is not a whole number from 0 to 1000"),
        ("file", (), 1, "the persona folder cannot be written to (File exists)"),
        ("loop/me", (), 1, "the persona folder cannot be written to (Too many levels of symbolic links)"),
        ("/".join(["x" * 200] * 25), (), 1, "cannot be the name of a file or folder"),
    ],
)
def test_a_place_or_number_that_cannot_be_is_told(tmp_path, capsys, place, more, code, said):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SystemExit) as stopped:
        main(["--persona", str(tmp_path / place), *more])
    assert stopped.value.code == code and said in capsys.readouterr().err


def test_both_languages_say_the_same_things():
    japanese, english = words("ja"), words("en")
    assert set(japanese) >= set(english) and set(japanese) == set(english)
    for key, text in english.items():
        if isinstance(text, str):
            fields = [set(re.findall(r"\{(\w+)", said)) for said in (text, japanese[key])]
            assert fields[1] <= fields[0] | {"first_person"}, key
