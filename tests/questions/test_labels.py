"""What a person writes for a species, and the label it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid, NotFound
from store.labels import names_of, resolve_label

LABELS = (
    "Poecile atricapillus_Black-capped Chickadee",
    "Phylloscopus collybita_Common Chiffchaff",
    "Strix aluco_Tawny Owl",
    "Setophaga cerulea_Cerulean Warbler",
    "Cettia cetti_Cetti's Warbler",
    "Dog_Dog",
    "dog_whistle",
    "Engine",
    "Corvus corax_Raven",
    "Corvus raven_Raven",
    "Ñandú",
)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Strix aluco_Tawny Owl", LABELS[2]),
        ("strix ALUCO_tawny owl", LABELS[2]),
        ("Strix aluco", LABELS[2]),
        ("  strix   aluco ", LABELS[2]),
        ("Tawny Owl", LABELS[2]),
        ("tawny owl", LABELS[2]),
        ("Strix_aluco", LABELS[2]),
        ("black-capped chickadee", LABELS[0]),
        ("Black\u2011capped Chickadee", LABELS[0]),
        ("Cetti\u2019s warbler", LABELS[4]),
        ("engine", "Engine"),
        ("ñandú", "Ñandú"),
        ("N\u0303andu\u0301", "Ñandú"),
        ("dog", "Dog_Dog"),
        ("whistle", "dog_whistle"),
        ("corvus corax", "Corvus corax_Raven"),
    ],
)
def test_a_label_is_found_by_each_of_its_names(text, label):
    there = [x for x in LABELS if not (text == "dog" and x == "dog_whistle")]
    assert resolve_label(there, text) == label


def test_a_label_as_it_is_spelled_wins_over_the_same_in_another_case():
    assert resolve_label(["rain", "Rain"], "rain") == "rain"
    assert resolve_label(["rain", "Rain"], "Rain") == "Rain"


def test_a_whole_label_wins_over_a_name_in_another():
    assert resolve_label(["Dog", "Canis lupus_Dog"], "dog") == "Dog"


@pytest.mark.parametrize("text", ["raven", "RAVEN"])
def test_a_name_of_several_labels_is_refused_and_they_are_listed(text):
    with pytest.raises(Invalid, match=r"names 2 labels: Corvus corax_Raven, Corvus raven_Raven\. Give the whole label"):
        resolve_label(LABELS, text)


def test_many_labels_are_counted():
    labels = [f"species {i}_Bird" for i in range(9)]
    with pytest.raises(Invalid, match=r"names 9 labels.* and 4 more"):
        resolve_label(labels, "bird")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Tawny Ovl", r"did you mean Tawny Owl\?"),
        ("chifchaff", r"did you mean Common Chiffchaff\?"),
        ("owl", "Tawny Owl"),
        ("phylloscopus colybita", r"Phylloscopus collybita"),
    ],
)
def test_near_names_are_offered(text, told):
    with pytest.raises(NotFound, match=told) as caught:
        resolve_label(LABELS, text)
    assert caught.value.exit_code == 4


def test_offered_names_are_understood():
    with pytest.raises(NotFound) as caught:
        resolve_label(LABELS, "Tawny Ovl")
    offered = caught.value.message.split("did you mean ")[1].rstrip("?")
    assert resolve_label(LABELS, offered) == "Strix aluco_Tawny Owl"


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_nothing_is_no_species(text):
    with pytest.raises(Invalid, match="a species without a name"):
        resolve_label(LABELS, text)


def test_a_store_without_predictions_says_so():
    with pytest.raises(NotFound, match="the store holds no predictions"):
        resolve_label([], "owl")
    with pytest.raises(NotFound, match="the store holds no annotations"):
        resolve_label(iter(()), "owl", among="annotations")


@given(st.lists(st.text(st.sampled_from("aB_ é'-"), min_size=1), min_size=1, unique=True))
def test_every_label_is_found_by_itself(labels):
    for label in labels:
        if label.strip():
            assert resolve_label(labels, label) == label


@given(st.lists(st.text(st.sampled_from("aAbB_ "), max_size=6)), st.text(st.sampled_from("aAbB_ "), max_size=6))
def test_what_is_found_is_one_of_them_and_is_so_named(labels, text):
    try:
        found = resolve_label(labels, text)
    except (Invalid, NotFound):
        return

    def same(a: str, b: str) -> bool:
        return a.replace("_", " ").lower().split() == b.replace("_", " ").lower().split()

    assert found in labels
    assert same(found, text) or any(same(name, text) for name in names_of(found))


@pytest.mark.parametrize(
    ("label", "names"),
    [("a b_C d", ("a b", "C d")), ("rain", ("rain",)), ("_x", ("_x",)), ("x_", ("x_",)), ("a_b_c", ("a", "b_c"))],
)
def test_names_of_a_label(label, names):
    assert names_of(label) == names
