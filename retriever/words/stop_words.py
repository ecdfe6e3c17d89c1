# ruff: noqa: RUF001  Cyrillic letters are meant
"""Function words of the larger languages: articles, pronouns, prepositions, auxiliaries.

The English list is the one of 33 words that Lucene has shipped since its first release. The
others were written for this project and keep to closed word classes. Words are given as they are
after case folding. What stands before an apostrophe (``l'avion``) is an elision, no stop word; the
``t`` of French stands between hyphens (``va-t-il``).

Question words stand in documents, and are left out of queries alone.
"""

from __future__ import annotations

from types import MappingProxyType

_WORDS = {
    "english": """
        a an and are as at be but by for if in into is it no not of on or such that the their then
        there these they this to was will with
    """,
    "german": """
        der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner
        und oder aber denn dass wenn als wie ob weil
        ich du er sie es wir ihr mich dich sich uns euch mir dir ihm ihn ihnen
        mein dein sein seine seinen seinem seiner ihre ihren ihrem ihrer unser
        dieser diese dieses diesen diesem jener jene jenes
        in im ins an am ans auf aus bei beim bis durch für gegen mit nach ohne um unter über
        von vom vor zu zum zur zwischen
        ist sind war waren bin bist wird werden wurde wurden worden hat haben hatte hatten
        nicht auch noch nur so da man
    """,
    "french": """
        le la les un une des du de au aux et ou mais donc ni que qui quoi dont où
        je tu il elle on nous vous ils elles me te t se lui leur leurs y en
        ce cet cette ces mon ma mes ton ta tes son sa ses notre nos votre vos
        à dans par pour sur sous avec sans chez vers entre depuis
        est sont était étaient été être sera a ont avait avaient avoir ne pas plus si comme
    """,
    "spanish": """
        el la los las lo un una unos unas de del a al y e o u pero ni que si
        yo tú él ella nosotros ellos ellas usted ustedes me te se nos le les
        mi mis tu tus su sus este esta estos estas esto ese esa esos esas eso
        en por para con sin sobre entre hasta desde
        es son era eran fue fueron ser ha han había haber no como más
    """,
    "italian": """
        il lo la i gli le un uno una di del dello della dei degli delle
        a ad al allo alla ai agli alle da dal dallo dalla dai dagli dalle
        in nel nello nella nei negli nelle su sul sullo sulla sui sugli sulle
        con col per tra fra e ed o ma che chi cui se
        io tu lui lei noi voi loro mi ti si ci vi ne
        questo questa questi queste quello quella quelli quelle suo sua suoi sue
        è sono era erano essere stato ha hanno aveva non come più
    """,
    "portuguese": """
        o a os as um uma uns umas de do da dos das em no na nos nas num numa
        ao à aos às por pelo pela pelos pelas para com sem sobre entre até
        e ou mas nem que se eu tu ele ela nós eles elas você vocês me te lhe lhes
        meu minha seu sua seus suas este esta estes estas isto esse essa esses essas isso
        é são era eram foi foram ser há tem têm não como mais
    """,
    "dutch": """
        de het een en of maar dat die dit deze als dan want
        ik jij je u hij zij ze wij we jullie hem haar hun mij me ons zich
        mijn jouw zijn onze
        in op aan van voor met bij naar om uit over door te tot onder tussen
        is was waren ben bent wordt worden werd werden heeft hebben had hadden
        niet ook er nog wel zo
    """,
    "swedish": """
        en ett den det de och eller men att som om när än
        jag du han hon vi ni mig dig sig honom henne oss er dem
        min din sin hans hennes vår deras denna detta dessa
        i på av för med till från vid under över mellan utan
        är var vara blir blev har hade inte också så
    """,
    "norwegian": """
        en ei et den det de og eller men at som om når enn
        jeg du han hun vi dere meg deg seg ham henne oss dem
        min din sin hans hennes vår deres denne dette disse
        i på av for med til fra ved under over mellom uten
        er var være blir ble har hadde ikke også så
    """,
    "danish": """
        en et den det de og eller men at som om når end
        jeg du han hun vi i mig dig sig ham hende os jer dem
        min din sin hans hendes vores deres denne dette disse
        på af for med til fra ved under over mellem uden
        er var være bliver blev har havde ikke også så
    """,
    "finnish": """
        ja tai mutta että jos kun kuin sekä eli
        minä sinä hän me te he se ne tämä nämä tuo nuo joka jotka mikä
        on ovat oli olivat olla ei eivät en et emme ette
        myös niin
    """,
    "russian": """
        и или но а что чтобы если как когда
        я ты он она оно мы вы они меня тебя его её ее нас вас их мне тебе ему ей нам вам им
        этот эта это эти тот та те
        в во на с со к ко у о об от до из за по под над при для без между
        был была было были быть есть не ни же бы ли
    """,
    "arabic": """
        في من على إلى الى عن مع أو او ثم لكن أن ان إن لا ما لم لن قد
        هو هي هم هذا هذه ذلك تلك الذي التي الذين كان كانت
    """,
}
_ENGLISH_QUESTIONS = frozenset(
    {"what", "which", "who", "whom", "whose", "when", "where", "why", "how", "do", "does", "did"}
    | {"done", "has", "have", "had", "having", "can", "could", "would", "should", "am", "been"}
    | {"being", "were"}
)

_ELIDED = {  # as Lucene 10 lists them
    "french": "l m t qu n s j d c jusqu quoiqu lorsqu puisqu",
    "italian": "c l all dall dell nell sull coll pell gl agl dagl degl negl sugl un m t s v d",
    "catalan": "d l m n s t",
    "irish": "d m b",
}
_LISTS = {name: frozenset(text.split()) for name, text in _WORDS.items()}
STOP_WORDS = MappingProxyType(
    _LISTS | {"porter": _LISTS["english"], "dutch_porter": _LISTS["dutch"]}
)
QUESTION_WORDS = MappingProxyType({"english": _ENGLISH_QUESTIONS, "porter": _ENGLISH_QUESTIONS})
ELIDED = MappingProxyType({name: frozenset(text.split()) for name, text in _ELIDED.items()})
STOPPED_WITHOUT_ELISION = MappingProxyType(  # version 1 of the analyser saw words in their place
    {
        "french": frozenset({"l", "d", "qu", "j", "m", "s", "c", "n"}),
        "italian": frozenset({"l", "d", "dell", "all", "dall", "nell", "sull"}),
    }
)
